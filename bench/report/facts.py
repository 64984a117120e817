"""Where and when something was measured, and how quiet it was there."""

import datetime
import json
import os
import pathlib
import platform
import re
import resource
import subprocess

import places


def said(*command):
    """The first line a command prints; empty when it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return ""
    lines = done.stdout.decode(errors="replace").splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else ""


def processor():
    found = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return found.group(1) if found else platform.machine()


def images():
    """Current guest images, by name; the id ends in a hash of the recipe and release."""
    done = subprocess.run([places.GLASSHOOK, "image", "list", "--json"], stdout=subprocess.PIPE)
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    return {image["name"]: f"{image['id']}, {image['kernel']}" for image in listed
            if image["current"] and image["name"] in ("linux", "windows-api", "linux-peers")}


def of_this_machine():
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": processor(),
        "processors": os.cpu_count(),
        "virtual": "hypervisor" in pathlib.Path("/proc/cpuinfo").read_text(),
        "kernel": f"{platform.system()} {platform.release()}",
        "qemu": said("qemu-system-x86_64", "--version"),
        "glasshook": said(places.GLASSHOOK, "version"),
        "images": images(),
    }


class Load:
    """What else ran meanwhile: processor time of the machine that was not ours, and that the hypervisor took."""

    def __init__(self):
        self._begin = self._now()
        self._average = os.getloadavg()[0]

    @staticmethod
    def _now():
        fields = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        tick = os.sysconf("SC_CLK_TCK")
        # user nice system idle iowait irq softirq steal (proc_stat(5))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"all": sum(fields) / tick, "busy": (sum(fields) - fields[3] - fields[4]) / tick,
                "stolen": fields[7] / tick, "own": used.ru_utime + used.ru_stime}

    def facts(self):
        now = self._now()
        passed = {name: now[name] - self._begin[name] for name in now}
        whole = passed["all"] or 1
        return {"load_before": round(self._average, 2), "load_after": round(os.getloadavg()[0], 2),
                "others": round(max(passed["busy"] - passed["own"], 0) / whole, 3),
                "stolen": round(passed["stolen"] / whole, 3)}
