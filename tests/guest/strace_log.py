"""Reads `strace -ff -y` logs: the independent account of what a command did."""

import re

MARKER = re.compile(r"^==> .*\.(\d+) <==$")
CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+|\?)(.*)$", re.DOTALL)


def unescape(text):
    """Undoes strace's C string escapes."""
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1").decode(
        "utf-8", errors="surrogateescape")


def strings(text):
    """The quoted strings of an argument list, in order."""
    return [unescape(s) for s in re.findall(r'"((?:[^"\\]|\\.)*)"', text)]


def split_threads(output):
    """`tail -n +1 log.*` output as {thread id: [line, ...]}."""
    threads, current = {}, None
    for line in output.split("\n"):
        marker = MARKER.match(line)
        if marker:
            current = threads.setdefault(int(marker.group(1)), [])
        elif line and current is not None:
            current.append(line)
    return threads


def absolute(directory, path):
    if path.startswith("/"):
        return path
    return (directory.rstrip("/") + "/" + path) if path not in ("", ".") else directory


def normalise(path):
    parts = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


class Thread:
    """Follows one thread's lines and gives (action, detail) pairs of what succeeded."""

    def __init__(self, directory):
        self.directory = directory  # working directory

    def at(self, arguments, index):
        """Absolute path of the `index`th quoted string with the directory descriptor before it."""
        matches = list(re.finditer(r'(?:(AT_FDCWD|\d+)<((?:[^>\\]|\\.)*)>, )?"((?:[^"\\]|\\.)*)"',
                                   arguments))
        match = matches[index]
        base = unescape(match.group(2)) if match.group(2) else self.directory
        return normalise(absolute(base, unescape(match.group(3))))

    def action(self, line):
        call = CALL.match(line)
        if not call:
            return None
        name, arguments, result, rest = call.groups()
        if result == "?" or result.startswith("-"):
            # A connection under way counts as made.
            if not (name == "connect" and "EINPROGRESS" in rest):
                return None
        if name in ("open", "openat", "openat2", "creat"):
            shown = re.match(r"<((?:[^>\\]|\\.)*)>", rest)
            return ("open", unescape(shown.group(1)) if shown else "?")
        if name in ("execve", "execveat"):
            return ("exec", tuple(strings(arguments[arguments.index("["):].split("], ")[0])))
        if name in ("unlink", "unlinkat"):
            return ("rmdir" if "AT_REMOVEDIR" in arguments else "unlink", self.at(arguments, 0))
        if name == "rmdir":
            return ("rmdir", self.at(arguments, 0))
        if name in ("mkdir", "mkdirat"):
            return ("mkdir", self.at(arguments, 0))
        if name in ("rename", "renameat", "renameat2"):
            return ("rename", (self.at(arguments, 0), self.at(arguments, 1)))
        if name == "connect":
            port = re.search(r"sin6?_port=htons\((\d+)\)", arguments)
            address = re.search(r'(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"', arguments)
            if port and address:
                return ("connect", (address.group(1), int(port.group(1))))
        if name == "chdir":
            self.directory = self.at(arguments, 0)
        return None


def actions(output, directory="/root"):
    """{thread id: [(action, detail), ...]} of everything that succeeded."""
    result = {}
    for thread_id, lines in split_threads(output).items():
        thread = Thread(directory)
        result[thread_id] = [a for a in map(thread.action, lines) if a is not None]
    return result
