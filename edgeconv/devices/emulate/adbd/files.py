"""Paths of the device: where they lie in the server's own file system, and which of them adb may write."""

import errno
import os

_MAX_LINKS = 40


class DeviceFiles:
    """A device whose root is the folder `root`; files that are made belong to `uid` (None: to whoever runs this)."""

    def __init__(self, root: str, uid: int | None, writable: tuple[str, ...]) -> None:
        self._root, self._uid, self._writable = root, uid, writable

    def locate(self, path: str, *, follow: bool = True) -> str:
        """Where a device path lies; links are resolved inside the root and never lead out of it.

        With `follow` false the last part is not resolved. OSError when links form a loop.
        """
        place: list[str] = []
        parts = path.split("/")
        links = 0
        while parts:
            part = parts.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                del place[-1:]
                continue
            here = os.path.join(self._root, *place, part)
            if os.path.islink(here) and (parts or follow):
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = os.readlink(here)
                place = [] if target.startswith("/") else place
                parts = target.split("/") + parts
            else:
                place.append(part)
        return os.path.join(self._root, *place)

    def stat(self, path: str, *, follow: bool) -> os.stat_result:
        """Of the file, or of the link itself."""
        return os.lstat(self.locate(path, follow=follow))

    def names(self, path: str) -> list[str]:
        """What a folder holds, with itself and its parent first; [] when it cannot be read."""
        try:
            return [".", "..", *sorted(os.listdir(self.locate(path)))]
        except OSError:
            return []

    def place_for(self, path: str) -> str:
        """Where a new file may be written, with its folders made and an old file of that name gone.

        OSError when the device does not let adb write there.
        """
        wanted = os.path.normpath(path)
        if not any(wanted == folder or wanted.startswith(folder + "/") for folder in self._writable):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        place = self.locate(os.path.dirname(wanted))
        self._make_folders(place)
        place = os.path.join(place, os.path.basename(wanted))
        if os.path.lexists(place):
            os.unlink(place)
        return place

    def own(self, place: str) -> None:
        """Give a new file to the device's user."""
        if self._uid is not None:
            os.chown(place, self._uid, self._uid, follow_symlinks=False)

    def _make_folders(self, place: str) -> None:
        if not os.path.isdir(place):
            self._make_folders(os.path.dirname(place))
            os.mkdir(place, 0o771)
            self.own(place)
