/* Cuts a process and its children off the network, and writes down what they tried to reach.
 * Preloaded (LD_PRELOAD); the file named by EDGECONV_CONNECT_LOG gets one line for each attempt. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void note(const char *call, const char *what) {
    const char *path = getenv("EDGECONV_CONNECT_LOG");
    char line[512];
    if (!path) return;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd < 0) return;
    int n = snprintf(line, sizeof line, "%s %s\n", call, what ? what : "?");
    if (write(fd, line, n) < 0) _exit(97);
    close(fd);
}

static int leaves(const struct sockaddr *address, const char *call) {
    char text[INET6_ADDRSTRLEN] = "?";
    if (!address) return 0;
    if (address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof text);
    else if (address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
    else
        return 0;
    note(call, text);
    errno = ENETUNREACH;
    return 1;
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (leaves(address, "connect")) return -1;
    if (!real) real = dlsym(RTLD_NEXT, "connect");
    return real(fd, address, length);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
    static ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    if (leaves(address, "sendto")) return -1;
    if (!real) real = dlsym(RTLD_NEXT, "sendto");
    return real(fd, data, size, flags, address, length);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    (void)service, (void)hints, (void)result;
    note("getaddrinfo", node);
    return EAI_FAIL;
}
