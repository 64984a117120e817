// Compares what is read from a real guest's memory with what its own /proc said. Runs when
// GLASSHOOK_RAM_FILE and GLASSHOOK_RAM_TRUTH name a recording made by real/record.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "guest/linux/code_page.h"
#include "guest/linux/files.h"
#include "guest/linux/kernel.h"
#include "guest/linux/memory_map.h"
#include "guest/linux/modules.h"
#include "guest/linux/path.h"
#include "guest/linux/percpu.h"
#include "guest/linux/process.h"
#include "memory/ram_file.h"

namespace glasshook::linux_guest {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::Not;

std::string slurp(const fs::path& path) {
  std::ifstream in{path, std::ios::binary};
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

/// What a listing holds; it has to be there.
template <class T>
std::vector<T> items(Result<Listing<T>> listing) {
  EXPECT_TRUE(listing);
  return listing ? std::move(listing->items) : std::vector<T>{};
}

/// The words behind "Key:" in a status file.
std::vector<std::string> status_words(const std::string& status, const std::string& key) {
  for (const std::string& line : lines(status)) {
    if (!line.starts_with(key + ":")) continue;
    std::istringstream in{line.substr(key.size() + 1)};
    return {std::istream_iterator<std::string>{in}, {}};
  }
  return {};
}

class RealGuest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* path = std::getenv("GLASSHOOK_RAM_FILE");
    const char* truth = std::getenv("GLASSHOOK_RAM_TRUTH");
    if (path == nullptr || truth == nullptr) return;
    truth_ = truth;
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    auto ram = RamFile::map(fd, std::array{RamFileSegment{{0}, fs::file_size(path), 0}});
    ::close(fd);
    ASSERT_TRUE(ram) << ram.error().message;
    ram_ = std::make_unique<RamFile>(std::move(*ram));
    auto kernel = LinuxKernel::find(*ram_);
    ASSERT_TRUE(kernel) << kernel.error().message;
    kernel_ = std::make_unique<LinuxKernel>(std::move(*kernel));
  }
  static void TearDownTestSuite() {
    kernel_.reset();
    ram_.reset();
  }
  void SetUp() override {
    if (kernel_ == nullptr) GTEST_SKIP() << "no recording of a guest is named";
  }

  /// The processes whose state did not change after the truth was told: all but init, which
  /// became `sleep`, and kernel threads.
  static std::vector<ProcessInfo> settled() {
    std::vector<ProcessInfo> out;
    for (ProcessInfo& p : items(processes(*kernel_)))
      if (!p.kernel_thread && p.pid != 1) out.push_back(std::move(p));
    return out;
  }
  static ProcessInfo actor(const std::string& role) {
    for (ProcessInfo& p : settled())
      if (p.arguments.size() > 1 && p.arguments[1] == role) return p;
    ADD_FAILURE() << "no actor " << role;
    return {};
  }
  static fs::path truth(const ProcessInfo& p) { return truth_ / std::to_string(p.pid); }
  static PathRef host_root() { return root_of(*kernel_, find_process(*kernel_, 1)->task); }

  static inline fs::path truth_;
  static inline std::unique_ptr<RamFile> ram_;
  static inline std::unique_ptr<LinuxKernel> kernel_;
};

TEST_F(RealGuest, KnowsItsKernel) {
  EXPECT_EQ(kernel_->banner() + "\n", slurp(truth_ / "version"));
  ASSERT_NE(kernel_->types(), nullptr);
  EXPECT_THAT(kernel_->layout().missing, testing::IsEmpty());
  const auto again = LinuxKernel::open(*ram_, kernel_->location());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->location(), kernel_->location());
  const auto running = LinuxKernel::find(*ram_, actor("files").space);
  ASSERT_TRUE(running) << running.error().message;
  EXPECT_EQ(running->location(), kernel_->location());
}

TEST_F(RealGuest, DecodesEverySymbol) {
  std::ostringstream all;
  for (const Symbol& s : kernel_->core_symbols())
    all << fmt::format("{:016x} {} {}\n", s.address.value, s.type, s.name);
  EXPECT_TRUE(all.str() == slurp(truth_ / "kallsyms"));
}

TEST_F(RealGuest, DecodesModuleSymbols) {
  std::size_t count = 0;
  for (const std::string& line : lines(slurp(truth_ / "kallsyms.modules"))) {
    char type = 0;
    std::uint64_t address = 0;
    std::array<char, 600> name{}, module{};
    ASSERT_EQ(std::sscanf(line.c_str(), "%lx %c %599s %599s", &address, &type, name.data(),
                          module.data()),
              4);
    if (std::string_view{module.data()} == "[bpf]") continue;
    ++count;
    const auto symbol = kernel_->symbols().find(name.data());
    EXPECT_TRUE(symbol) << line;
    EXPECT_TRUE(kernel_->symbols().at(Gva{address})) << line;
  }
  EXPECT_GT(count, 100u);
}

TEST_F(RealGuest, ListsModules) {
  const auto loaded = modules(*kernel_);
  ASSERT_TRUE(loaded);
  EXPECT_FALSE(loaded->incomplete);
  const auto expected = lines(slurp(truth_ / "modules"));
  ASSERT_EQ(loaded->items.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const ModuleInfo& m = loaded->items[i];
    EXPECT_TRUE(expected[i].starts_with(fmt::format("{} {} {} ", m.name, m.size, m.references)))
        << expected[i] << " is not " << m.name << " " << m.size << " " << m.references;
    EXPECT_TRUE(expected[i].find(fmt::format("Live 0x{:016x}", m.base.value)) != std::string::npos)
        << expected[i];
    EXPECT_TRUE(m.live);
  }
}

TEST_F(RealGuest, ListsTheSameProcesses) {
  const auto all = processes(*kernel_);
  ASSERT_TRUE(all);
  EXPECT_FALSE(all->incomplete);
  std::vector<std::uint32_t> pids;
  for (const ProcessInfo& p : all->items) pids.push_back(p.pid);
  EXPECT_GT(settled().size(), 8u);
  for (const ProcessInfo& p : settled()) EXPECT_TRUE(fs::exists(truth(p))) << p.pid << p.name;
  for (const auto& entry : fs::directory_iterator{truth_}) {
    if (!entry.is_directory() || !slurp(entry.path() / "cmdline").contains("actor")) continue;
    EXPECT_THAT(pids, Contains(std::stoul(entry.path().filename())));
  }
}

TEST_F(RealGuest, ReadsIdentity) {
  for (const ProcessInfo& p : settled()) {
    const std::string status = slurp(truth(p) / "status");
    const auto word = [&](const char* key, std::size_t i = 0) {
      const auto words = status_words(status, key);
      return i < words.size() ? std::stoul(words[i]) : ~0ul;
    };
    EXPECT_EQ(p.name + "\n", slurp(truth(p) / "comm"));
    EXPECT_EQ(p.pid, word("Tgid"));
    EXPECT_EQ(std::to_string(p.namespace_pid), status_words(status, "NStgid").back());
    EXPECT_EQ(p.parent_pid, word("PPid"));
    EXPECT_EQ(p.user_id, word("Uid", 0));
    EXPECT_EQ(p.effective_user_id, word("Uid", 1));
    EXPECT_EQ(p.group_id, word("Gid", 0));
    EXPECT_EQ(p.effective_group_id, word("Gid", 1));
    const std::string stat = slurp(truth(p) / "stat");
    std::istringstream fields{stat.substr(stat.rfind(')') + 2)};
    const std::vector<std::string> values{std::istream_iterator<std::string>{fields}, {}};
    EXPECT_EQ(p.start_time / 10'000'000, std::stoul(values.at(22 - 3)));
    EXPECT_EQ(fmt::format("0::{}\n", p.cgroup), slurp(truth(p) / "cgroup"));
    EXPECT_FALSE(p.exited);
  }
  const ProcessInfo container = actor("container");
  EXPECT_EQ(container.container_id, std::string(64, 'a'));
  EXPECT_EQ(container.namespace_pid, 1u);
  EXPECT_NE(container.parent_start_time, 0u);
}

TEST_F(RealGuest, ReadsArguments) {
  for (const ProcessInfo& p : settled()) {
    std::string joined;
    for (const std::string& argument : p.arguments) joined += argument + '\0';
    EXPECT_EQ(joined, slurp(truth(p) / "cmdline"));
    EXPECT_FALSE(p.arguments_truncated);
  }
  EXPECT_EQ(actor("user").arguments,
            (std::vector<std::string>{"/bin/actor", "user", "two words", "", "tab\tend"}));
}

TEST_F(RealGuest, ReadsPaths) {
  for (const ProcessInfo& p : settled()) {
    const auto exe = kernel_->pointer(p.mm, kernel_->layout().mm.exe_file);
    ASSERT_TRUE(exe);
    EXPECT_EQ(file_path(*kernel_, *exe, host_root()).display(), slurp(truth(p) / "exe"));
    const auto task_fs = kernel_->pointer(p.task, kernel_->layout().task.fs);
    const auto pwd = read_path_ref(*kernel_, *task_fs + kernel_->layout().fs.pwd.bytes());
    EXPECT_EQ(path_of(*kernel_, *pwd, host_root()).display(), slurp(truth(p) / "cwd"));
    EXPECT_EQ(path_of(*kernel_, p.root, host_root()).display(), slurp(truth(p) / "root"));
  }
  const ProcessInfo jail = actor("jail");
  EXPECT_EQ(jail.working_directory.text, "/inner");
  EXPECT_FALSE(jail.executable.reachable) << "its program lies outside its root";
  EXPECT_EQ(actor("bound").executable.text, "/data/bound/actor");
  EXPECT_EQ(actor("deleted").executable.display(), "/tmp/deleted (deleted)");
  EXPECT_TRUE(actor("deleted").executable.deleted);
}

TEST_F(RealGuest, ListsMemoryAreas) {
  for (const ProcessInfo& p : settled()) {
    auto expected = lines(slurp(truth(p) / "maps"));
    std::erase_if(expected, [](const std::string& l) { return l.contains("[vsyscall]"); });
    const auto map = areas(*kernel_, p.mm, host_root());
    ASSERT_TRUE(map);
    EXPECT_FALSE(map->incomplete);
    ASSERT_EQ(map->items.size(), expected.size()) << p.arguments[0];
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const MemoryArea& a = map->items[i];
      std::string line =
          fmt::format("{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ", a.start.value, a.end.value,
                      a.readable ? 'r' : '-', a.writable ? 'w' : '-', a.executable ? 'x' : '-',
                      a.shared ? 's' : 'p', a.file_offset, a.device_major, a.device_minor, a.inode);
      const std::string name = a.file.is_null() ? a.special : a.path.display();
      if (!name.empty()) line = fmt::format("{:<73}{}", line, name);
      EXPECT_EQ(line, expected[i]);
      for (const Gva at : {a.start, a.start + 5, a.end - 1}) {
        const auto found = area_at(*kernel_, p.mm, at);
        ASSERT_TRUE(found) << found.error().message;
        EXPECT_EQ(found->start, a.start);
      }
      if (i > 0 && map->items[i - 1].end < a.start) {
        EXPECT_FALSE(area_at(*kernel_, p.mm, a.start - 1));
      }
    }
  }
}

TEST_F(RealGuest, ListsOpenFiles) {
  for (const ProcessInfo& p : settled()) {
    std::map<std::uint32_t, std::string> expected, found;
    for (const auto& entry : fs::directory_iterator{truth(p) / "fd"})
      expected[static_cast<std::uint32_t>(std::stoul(entry.path().filename()))] =
          slurp(entry.path());
    const auto files = open_files(*kernel_, p.task);
    ASSERT_TRUE(files);
    EXPECT_FALSE(files->incomplete);
    for (const OpenFile& f : files->items)
      found[f.descriptor] = file_path(*kernel_, f.file, host_root()).display();
    EXPECT_EQ(found, expected) << p.pid;
  }
}

TEST_F(RealGuest, ReadsSockets) {
  std::vector<std::string> seen;
  for (const OpenFile& f : items(open_files(*kernel_, actor("files").task))) {
    if (!f.socket) continue;
    const SocketInfo& s = *f.socket;
    seen.push_back(fmt::format("{} {} {} {} {}:{} {}:{} {}", s.family, s.type, s.protocol,
                               s.state_name(), s.local.address, s.local.port, s.remote.address,
                               s.remote.port == 8080 ? "8080"
                               : s.remote.port == 0  ? "0"
                                                     : "x",
                               s.unix_path));
  }
  EXPECT_THAT(seen, Contains("2 1 6 LISTEN 127.0.0.1:8080 0.0.0.0:0 "));
  EXPECT_THAT(seen, Contains("2 1 6 ESTABLISHED 127.0.0.1:8080 127.0.0.1:x "));
  EXPECT_THAT(
      seen, Contains(testing::MatchesRegex("2 1 6 ESTABLISHED 127.0.0.1:[0-9]+ 127.0.0.1:8080 ")));
  EXPECT_THAT(seen, Contains("10 2 17 UNCONNECTED ::1:5353 :::0 "));
  EXPECT_THAT(seen, Contains("1 1 0 LISTEN :0 :0 /data/control"));
  EXPECT_THAT(seen, Contains(std::string("1 1 0 LISTEN :0 :0 \0abstract", 28)));
}

TEST_F(RealGuest, ListsThreads) {
  const ProcessInfo p = actor("threads");
  const auto all = threads(*kernel_, p.task);
  ASSERT_TRUE(all);
  std::vector<std::string> tids, names;
  for (const ThreadInfo& t : all->items) {
    tids.push_back(std::to_string(t.tid));
    names.push_back(t.name);
  }
  EXPECT_THAT(tids, testing::UnorderedElementsAreArray(lines(slurp(truth(p) / "task"))));
  EXPECT_EQ(names,
            (std::vector<std::string>{"actor", "worker one", "worker\ttwo", "worker-three"}));
  const auto thread = process_at(*kernel_, all->items[1].task);
  ASSERT_TRUE(thread);
  EXPECT_EQ(thread->pid, p.pid);
  EXPECT_EQ(thread->tid, all->items[1].tid);
  EXPECT_EQ(thread->start_time, p.start_time);
  EXPECT_EQ(thread->arguments, p.arguments);
}

TEST_F(RealGuest, FindsMountPoints) {
  const Layout& l = kernel_->layout();
  const auto super_block_of = [&](const ProcessInfo& p) {
    const auto exe = kernel_->pointer(p.mm, l.mm.exe_file);
    const auto inode = kernel_->pointer(*exe, l.file.inode);
    return kernel_->pointer(*inode, l.inode.sb).value();
  };
  const ProcessInfo bound = actor("bound"), container = actor("container");
  const auto mounts = [&](const ProcessInfo& of, const ProcessInfo& seen_by) {
    return mount_points_of(*kernel_, super_block_of(of), view_of(*kernel_, seen_by.task));
  };
  const auto data = mounts(bound, bound);
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ(data->front().path.text, "/data") << "not the bind mount of a part";
  EXPECT_EQ(data->front().part, "/");
  const auto priv = mounts(container, container);
  ASSERT_TRUE(priv) << priv.error().message;
  EXPECT_EQ(priv->front().path.text, "/data/priv");
  EXPECT_FALSE(mounts(container, bound)) << "another namespace";
  const auto exe = kernel_->pointer(bound.mm, l.mm.exe_file);
  EXPECT_EQ(path_in_file_system(*kernel_, user_path(*kernel_, *exe)->dentry).text, "/jail/actor");
}

TEST_F(RealGuest, TellsCodePages) {
  const ProcessInfo p = actor("maps");
  std::map<std::string, CodePageKind> kinds;
  for (const MemoryArea& a : items(areas(*kernel_, p.mm, p.root))) {
    const std::string name = a.file.is_null() ? a.special : a.path.display();
    const std::string key = name + (a.executable ? " x" : a.writable ? " w" : "");
    const CodePage page = code_page(*kernel_, p.mm, a.start + 100);
    if (page.kind != CodePageKind::unknown) kinds[key] = page.kind;
    EXPECT_EQ(page.area_start, a.start);
    EXPECT_EQ(page.file_offset, a.file_offset);
  }
  EXPECT_EQ(kinds["/bin/actor x"], CodePageKind::file);
  EXPECT_EQ(kinds["/bin/actor w"], CodePageKind::private_copy);
  EXPECT_EQ(kinds["/memfd:payload (deleted) x"], CodePageKind::file);
  EXPECT_EQ(kinds["/data/gone (deleted) w"], CodePageKind::private_copy);
  EXPECT_EQ(kinds["[heap] w"], CodePageKind::anonymous);
  EXPECT_EQ(kinds["[vdso] x"], CodePageKind::vdso);
  EXPECT_EQ(kinds[" w"], CodePageKind::anonymous);
  EXPECT_EQ(code_page(*kernel_, p.mm, Gva{0xffffffffff600000}).kind, CodePageKind::vdso);
  EXPECT_EQ(code_page(*kernel_, p.mm, Gva{0x1000}).kind, CodePageKind::unknown);
}

TEST_F(RealGuest, KnowsWhereTheKernelKeepsTheRunningTask) {
  const auto offset = current_task_offset(*kernel_);
  ASSERT_TRUE(offset) << offset.error().message;
  for (int cpu = 0; cpu < 2; ++cpu) {
    const auto gs = kernel_->read<std::uint64_t>(*kernel_->symbol("__per_cpu_offset") +
                                                 static_cast<std::uint64_t>(cpu) * 8);
    const auto task = kernel_->pointer(Gva{*gs + *offset});
    ASSERT_TRUE(task);
    const auto info = process_at(*kernel_, *task);
    ASSERT_TRUE(info) << "cpu " << cpu;
    EXPECT_FALSE(info->name.empty());
  }
}

TEST_F(RealGuest, KnowsWhereUserRegistersAre) {
  const auto registers = user_registers(*kernel_);
  ASSERT_TRUE(registers) << registers.error().message;
  EXPECT_EQ(registers->thread_size, 16384u);
  const std::uint32_t cs = kernel_->types()->offset("pt_regs", "cs").value();
  const std::uint32_t ss = kernel_->types()->offset("pt_regs", "ss").value();
  for (const ProcessInfo& p : settled()) {
    const auto stack = kernel_->pointer(p.task, kernel_->layout().task.stack);
    const Gva at = *stack + registers->offset;
    EXPECT_EQ(kernel_->read<std::uint16_t>(at + cs), 0x33) << p.pid;
    EXPECT_EQ(kernel_->read<std::uint16_t>(at + ss), 0x2b) << p.pid;
  }
}

TEST_F(RealGuest, RefusesAddressesThatAreNoTask) {
  EXPECT_FALSE(process_at(*kernel_, Gva{0}));
  EXPECT_FALSE(process_at(*kernel_, Gva{0x401000}));
  EXPECT_FALSE(process_at(*kernel_, Gva{0xffff'8000'0000'0000}));
  EXPECT_EQ(find_process(*kernel_, 4'000'000).error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace glasshook::linux_guest
