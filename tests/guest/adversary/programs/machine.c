// Looks for signs of a virtual machine, as malware and sandbox detectors do. Prints a line a sign,
// "found NAME: WHAT", and at the end how many places it looked at.
#include <cpuid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

static int looked;

static void found(const char *name, const char *what) { printf("found %s: %.150s\n", name, what); }

// Words in what a virtual machine calls itself. None is in what a PC says.
static const char *const words[] = {"qemu", "bochs", "bxpc", "seabios", "virtio", "kvmkvmkvm",
                                    "tcgtcgtcg", "red hat", "vmware", "virtualbox", "vbox", "innotek",
                                    "parallels", "fw_cfg", "pvpanic", "hypervisor detected", NULL};

static void search(const char *name, const char *where, const unsigned char *bytes, size_t size) {
  ++looked;
  for (const char *const *word = words; *word; ++word) {
    size_t length = strlen(*word);
    for (size_t i = 0; i + length <= size; ++i) {
      if (strncasecmp((const char *)bytes + i, *word, length) != 0) continue;
      char text[200];
      snprintf(text, sizeof text, "%s in %s", *word, where);
      found(name, text);
      break;
    }
  }
}

static unsigned char buffer[1 << 22];

static size_t slurp(const char *path) {
  int fd = open(path, O_RDONLY | O_NONBLOCK);
  size_t have = 0;
  ssize_t got;
  if (fd < 0) return 0;
  while (have < sizeof buffer && (got = read(fd, buffer + have, sizeof buffer - have)) > 0)
    have += (size_t)got;
  close(fd);
  return have;
}

static void search_file(const char *name, const char *path) {
  size_t size = slurp(path);
  if (size) search(name, path, buffer, size);
}

// All files below a directory, without following links; names too.
static void search_tree(const char *name, const char *path, int depth) {
  DIR *directory = opendir(path);
  if (!directory) return;
  for (struct dirent *entry; (entry = readdir(directory));) {
    char below[4096];
    struct stat info;
    if (entry->d_name[0] == '.') continue;
    snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
    search(name, below, (unsigned char *)entry->d_name, strlen(entry->d_name));
    if (lstat(below, &info) != 0) continue;
    if (S_ISDIR(info.st_mode) && depth > 0) search_tree(name, below, depth - 1);
    if (S_ISREG(info.st_mode)) search_file(name, below);
  }
  closedir(directory);
}

static void processor(void) {
  unsigned a, b, c, d;
  char text[64] = "";
  ++looked;
  __cpuid(1, a, b, c, d);
  if (c >> 31) found("hypervisor bit", "cpuid 1");
  __cpuid(0x40000000, a, b, c, d);
  memcpy(text, &b, 4), memcpy(text + 4, &c, 4), memcpy(text + 8, &d, 4);
  search("hypervisor leaf", "cpuid 0x40000000", (unsigned char *)text, 12);
  for (unsigned i = 0; i < 3; ++i) {
    __cpuid(0x80000002 + i, a, b, c, d);
    memcpy(text + 16 * i, &a, 4), memcpy(text + 16 * i + 4, &b, 4);
    memcpy(text + 16 * i + 8, &c, 4), memcpy(text + 16 * i + 12, &d, 4);
  }
  search("processor brand", "cpuid", (unsigned char *)text, 48);
  if (!strstr(text, "Intel") && !strstr(text, "AMD")) found("processor brand", text);
  search_file("cpuinfo", "/proc/cpuinfo");
  if (memmem(buffer, slurp("/proc/cpuinfo"), " hypervisor", 11)) found("cpuinfo", "hypervisor");
  if (sysconf(_SC_NPROCESSORS_CONF) < 2) found("processors", "one");
}

static void firmware(void) {
  search_tree("dmi", "/sys/class/dmi/id/", 0);
  search_file("smbios", "/sys/firmware/dmi/tables/DMI");
  size_t size = slurp("/sys/firmware/dmi/tables/DMI");
  for (size_t at = 0; at + 0x14 < size && buffer[at + 1] >= 4;) {
    ++looked;
    if (buffer[at] == 0 && buffer[at + 1] > 0x13 && (buffer[at + 0x13] & 0x10))
      found("smbios", "says that it is virtual");
    if (buffer[at] == 3 && buffer[at + 5] <= 2) found("smbios", "chassis of no kind");
    const unsigned char *end = memmem(buffer + at + buffer[at + 1], size - at - buffer[at + 1],
                                      "\0\0", 2);
    if (!end) break;
    at = (size_t)(end - buffer) + 2;
  }
  search_tree("acpi tables", "/sys/firmware/acpi/tables", 1);
  if (access("/sys/firmware/acpi/tables/WAET", F_OK) == 0) found("acpi tables", "WAET");
  DIR *devices = opendir("/sys/bus/acpi/devices");
  for (struct dirent *entry; devices && (entry = readdir(devices));) {
    char path[600];
    snprintf(path, sizeof path, "/sys/bus/acpi/devices/%.200s", entry->d_name);
    if (entry->d_name[0] != '.') search_tree("acpi devices", strcat(path, "/"), 0);
  }
  if (devices) closedir(devices);
  if (access("/sys/firmware/qemu_fw_cfg", F_OK) == 0) found("fw_cfg", "/sys/firmware/qemu_fw_cfg");
  int memory = open("/dev/mem", O_RDONLY);
  if (memory >= 0 && pread(memory, buffer, 0x40000, 0xc0000) == 0x40000)
    search("rom", "below 1 MiB", buffer, 0x40000);
  if (memory >= 0) close(memory);
}

// Vendors of virtual PCI devices.
static int is_virtual(unsigned vendor) {
  static const unsigned vendors[] = {0x1af4, 0x1b36, 0x1234, 0x15ad, 0x80ee, 0x5853, 0x1414, 0x1ab8};
  for (size_t i = 0; i < sizeof vendors / sizeof *vendors; ++i)
    if (vendor == vendors[i]) return 1;
  return 0;
}

static void devices(void) {
  DIR *bus = opendir("/sys/bus/pci/devices");
  for (struct dirent *entry; bus && (entry = readdir(bus));) {
    char path[600], text[100];
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%.200s/config", entry->d_name);
    if (slurp(path) < 64) continue;
    ++looked;
    uint16_t id[2], subsystem[2];
    memcpy(id, buffer, 4), memcpy(subsystem, buffer + 0x2c, 4);
    snprintf(text, sizeof text, "%.20s %04x:%04x of %04x:%04x", entry->d_name, id[0], id[1],
             subsystem[0], subsystem[1]);
    if (is_virtual(id[0])) found("pci device", text);
    if (is_virtual(subsystem[0])) found("pci subsystem", text);
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%.200s/subsystem_vendor", entry->d_name);
    slurp(path);
    if (is_virtual((unsigned)strtoul((char *)buffer, NULL, 16))) found("pci subsystem", path);
  }
  if (bus) closedir(bus);
  search_tree("virtio", "/sys/bus/virtio/devices", 0);
  search_tree("drivers", "/sys/bus/pci/drivers", 0);
  search_tree("device files", "/dev", 1);
  static const char *const files[] = {"/proc/iomem", "/proc/ioports", "/proc/interrupts",
                                      "/proc/modules", "/proc/devices", "/proc/misc",
                                      "/proc/scsi/scsi", NULL};
  for (const char *const *file = files; *file; ++file) search_file("devices", *file);
}

static void disks(void) {
  unsigned long long largest = 0;  // in sectors of 512 bytes
  DIR *blocks = opendir("/sys/block");
  for (struct dirent *entry; blocks && (entry = readdir(blocks));) {
    char path[600];
    if (strncmp(entry->d_name, "vd", 2) == 0) found("disk name", entry->d_name);
    if (strncmp(entry->d_name, "sd", 2) && strncmp(entry->d_name, "vd", 2)) continue;
    snprintf(path, sizeof path, "/sys/block/%.200s/device/", entry->d_name);
    search_tree("disk", path, 0);
    snprintf(path, sizeof path, "/sys/block/%.200s/device/model", entry->d_name);
    if (!slurp(path)) found("disk", "has no model");
    snprintf(path, sizeof path, "/sys/block/%.200s/size", entry->d_name);
    buffer[slurp(path)] = 0;
    unsigned long long size = strtoull((char *)buffer, NULL, 10);
    if (size > largest) largest = size;
  }
  if (blocks) closedir(blocks);
  if (largest < 60000000000ull / 512) found("disk size", "small");
}

static void network(void) {
  static const char *const vendors[] = {"52:54:00", "08:00:27", "00:05:69", "00:0c:29", "00:50:56",
                                        "00:16:3e", "00:1c:42", "00:15:5d", NULL};
  DIR *cards = opendir("/sys/class/net");
  int real = 0;
  for (struct dirent *entry; cards && (entry = readdir(cards));) {
    char path[600], address[20] = "";
    if (entry->d_name[0] == '.' || strcmp(entry->d_name, "lo") == 0) continue;
    snprintf(path, sizeof path, "/sys/class/net/%.200s/address", entry->d_name);
    if (slurp(path) < 17) continue;
    memcpy(address, buffer, 17);
    ++looked;
    if (strtoul(address, NULL, 16) & 2) found("mac", address);  // nobody's
    for (const char *const *vendor = vendors; *vendor; ++vendor)
      if (strncasecmp(address, *vendor, 8) == 0) found("mac", address);
    snprintf(path, sizeof path, "/sys/class/net/%.200s/device", entry->d_name);
    real += access(path, F_OK) == 0;
  }
  if (cards) closedir(cards);
  if (!real) found("network card", "none");
}

static void amounts(void) {
  struct sysinfo info;
  struct utsname name;
  char text[100];
  looked += 3;
  sysinfo(&info);
  snprintf(text, sizeof text, "%lu MiB", info.totalram * info.mem_unit >> 20);
  if (info.totalram * info.mem_unit >> 20 < 900) found("memory", text);
  snprintf(text, sizeof text, "%ld s", info.uptime);
  if (info.uptime < 3600) found("uptime", text);
  uname(&name);
  if (strstr(name.release, "cloud") || strstr(name.release, "kvm")) found("kernel", name.release);
}

static void messages(void) {
  int size = klogctl(3, (char *)buffer, sizeof buffer);
  if (size > 0) search("kernel log", "dmesg", buffer, (size_t)size);
  else printf("no kernel log: %s\n", strerror(errno));
}

// Doors of hypervisors behind I/O ports.
static void ports(void) {
  if (iopl(3) != 0) {
    printf("no I/O ports: %s\n", strerror(errno));
    return;
  }
  ++looked;
  uint32_t a = 0x564d5868, b = 0, c = 10, d = 0x5658;
  __asm__ volatile("inl %%dx, %%eax" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
  if (b == 0x564d5868) found("vmware port", "answers");
  ++looked;
  char signature[5] = "";
  outw(0, 0x510);
  for (int i = 0; i < 4; ++i) signature[i] = (char)inb(0x511);
  if (strcmp(signature, "QEMU") == 0) found("fw_cfg port", signature);
}

int main(void) {
  processor();
  firmware();
  devices();
  disks();
  network();
  amounts();
  messages();
  ports();
  printf("looked at %d places\n", looked);
  return 0;
}
