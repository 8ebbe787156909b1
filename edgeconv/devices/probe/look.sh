# What a system is and has, in sections; POSIX sh, as dash, busybox, Android's mksh and bash all have it.
# $1: our folder on this system.  EDGECONV_SYSROOT: a folder that holds a copy of another system's files.
R="${EDGECONV_SYSROOT:-}"
section() { echo; echo "@@edgeconv $1"; }
show() { cat "$R/$1" 2>/dev/null; }
# No program may hold us up: each has ten seconds.
bounded() {
  "$@" 2>&1 &
  job=$!
  ( exec >/dev/null 2>&1; sleep 10; kill -9 "$job" ) &
  guard=$!
  wait "$job"
  status=$?
  kill -9 "$guard" 2>/dev/null
  return "$status"
}
DIRECTORIES=$PATH:/usr/sbin:/sbin:/opt/vc/bin:/system/bin:/usr/src/tensorrt/bin:/usr/local/cuda/bin
find_tool() {
  save=$IFS
  IFS=:
  for directory in $DIRECTORIES; do
    if [ -f "$R$directory/$1" ] && [ -x "$R$directory/$1" ]; then
      IFS=$save
      echo "$R$directory/$1"
      return 0
    fi
  done
  IFS=$save
  return 1
}

section kernel
if [ -n "$R" ]; then
  show proc/sys/kernel/ostype; show proc/sys/kernel/osrelease; show proc/sys/kernel/arch
else
  uname -s; uname -r; uname -m
fi
section model
[ -r "$R/proc/device-tree/model" ] && tr '\000' '\n' <"$R/proc/device-tree/model"
section compatible
[ -r "$R/proc/device-tree/compatible" ] && tr '\000' '\n' <"$R/proc/device-tree/compatible"
section os
show etc/os-release
section cpuinfo
show proc/cpuinfo
section midr
cat "$R"/sys/devices/system/cpu/cpu[0-9]*/regs/identification/midr_el1 2>/dev/null
section meminfo
show proc/meminfo
section program
# The head of a program tells its word size and machine, whatever the kernel says.
for file in bin/sh system/bin/sh; do
  [ -r "$R/$file" ] && { od -A n -v -t x1 -N 20 "$R/$file" 2>/dev/null; break; }
done
section loaders
for file in "$R"/lib/ld-* "$R"/lib64/ld-* "$R"/lib/*/ld-* "$R"/system/bin/linker64 "$R"/system/bin/linker; do
  [ -e "$file" ] && echo "${file#"$R"}"
done
section libc
for file in "$R"/lib/*-linux-gnu*/libc.so.6 "$R"/lib64/libc.so.6 "$R"/lib/libc.so.6 "$R"/usr/lib/libc.so.6; do
  [ -r "$file" ] && { tr -c '[:print:]' '\n' <"$file" | grep 'stable release version'; break; }
done
section page
if [ -z "$R" ]; then
  getconf PAGESIZE 2>/dev/null || grep -m 1 KernelPageSize /proc/self/smaps 2>/dev/null
fi
section disk
folder=${1:-/}
while [ -n "$folder" ] && [ ! -d "$folder" ]; do folder=${folder%/*}; done
df -P -k "${folder:-/}" 2>/dev/null || df -k "${folder:-/}" 2>/dev/null
section user
id -un 2>/dev/null; id -Gn 2>/dev/null
section sensors
for file in "$R"/sys/class/thermal/thermal_zone*/temp "$R"/sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq \
  "$R"/sys/class/hwmon/*/oc*_event_cnt "$R"/sys/class/hwmon/*/in0_lcrit_alarm "$R"/sys/class/hwmon/*/curr1_input \
  "$R"/sys/bus/i2c/drivers/ina3221x "$R"/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count; do
  [ -r "$file" ] && echo "${file#"$R"}"
done
section nv_tegra_release
show etc/nv_tegra_release
section packages
# Of dpkg's own list, for what is removed stays in it with another status.
[ -r "$R/var/lib/dpkg/status" ] && awk '
  /^Package: / { name = $2; installed = 0 }
  /^Status: .* installed$/ { installed = 1 }
  /^Version: / && installed && name ~ /^(nvidia-jetpack|nvidia-l4t-core|libnvinfer[0-9]*|libnvinfer-bin|cuda-runtime-.*|libcudnn[0-9]+.*)$/ {
    print name, $2
  }' "$R/var/lib/dpkg/status"
section cuda
show usr/local/cuda/version.json || show usr/local/cuda/version.txt
section tools
for tool in trtexec vcgencmd nvpmodel tegrastats dumpsys settings; do
  path=$(find_tool "$tool") && echo "$tool ${path#"$R"}"
done
section vcgencmd
path=$(find_tool vcgencmd) && bounded "$path" get_throttled
section getprop
path=$(find_tool getprop) && bounded "$path"
section pythons
for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8 python3.7 python3.6; do
  path=$(find_tool "$name") || continue
  echo "python ${path#"$R"}"
  bounded "$path" -c '
import sys
print("version %d.%d.%d" % sys.version_info[:3])
from importlib import metadata
for name in ("numpy", "onnxruntime", "onnxruntime-gpu", "ai-edge-litert", "tflite-runtime", "openvino"):
    try:
        print("has %s %s" % (name, metadata.version(name)))
    except metadata.PackageNotFoundError:
        pass'
done
section end
