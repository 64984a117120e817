#include "machine/process.h"

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace glasshook::machine {
namespace fs = std::filesystem;
namespace {

/// Everything the new process needs, made before fork: after it only system calls are safe.
struct Launch {
  std::string program;
  std::vector<char*> argv;
  std::vector<char*> environment;
  std::vector<int> inherit;
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1, report_fd = -1;
  pid_t parent = 0;
};

/// Whether `variables` has one of the same name.
bool is_among(std::string_view variable, const std::vector<std::string>& variables) {
  const std::string_view name = variable.substr(0, variable.find('=') + 1);
  return std::ranges::any_of(variables,
                             [&](const std::string& other) { return other.starts_with(name); });
}

[[noreturn]] void report_and_exit(const Launch& launch) {
  const int error = errno;
  if (::write(launch.report_fd, &error, sizeof error) < 0) ::_exit(126);
  ::_exit(127);
}

[[noreturn]] void become(const Launch& launch) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launch.parent) ::_exit(125);
  ::setsid();
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  if (::dup2(launch.stdin_fd, 0) < 0 || ::dup2(launch.stdout_fd, 1) < 0 ||
      ::dup2(launch.stderr_fd, 2) < 0)
    report_and_exit(launch);
  for (const int fd : launch.inherit)
    if (::fcntl(fd, F_SETFD, 0) < 0) report_and_exit(launch);
  ::execve(launch.program.c_str(), launch.argv.data(), launch.environment.data());
  report_and_exit(launch);
}

ExitStatus from_wait(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return {info.si_status, 0};
  return {0, info.si_status};
}

}  // namespace

std::string ExitStatus::text() const {
  if (signal == 0) return fmt::format("exit status {}", code);
  return fmt::format("signal {} ({})", signal, ::strsignal(signal));
}

fs::path find_program(std::string_view name) {
  if (name.find('/') != std::string_view::npos)
    return ::access(std::string(name).c_str(), X_OK) == 0 ? fs::path(name) : fs::path();
  const char* variable = std::getenv("PATH");
  std::string search = variable != nullptr ? variable : "/usr/local/bin:/usr/bin:/bin";
  search += ":/usr/sbin:/sbin";
  for (std::size_t begin = 0; begin <= search.size();) {
    const std::size_t end = std::min(search.find(':', begin), search.size());
    const fs::path candidate = fs::path(search.substr(begin, end - begin)) / name;
    if (candidate.is_absolute() && ::access(candidate.c_str(), X_OK) == 0 &&
        fs::is_regular_file(candidate))
      return candidate;
    begin = end + 1;
  }
  return {};
}

Result<Child> Child::start(const ChildOptions& options) {
  if (options.argv.empty()) return fail(ErrorCode::invalid_argument, "no program to start");
  const std::string& name = options.argv[0];
  Launch launch;
  launch.program = find_program(name);
  if (launch.program.empty())
    return fail(ErrorCode::not_found, "{} is not installed (not in PATH)", name);
  for (const std::string& argument : options.argv)
    launch.argv.push_back(const_cast<char*>(argument.c_str()));
  launch.argv.push_back(nullptr);
  for (const std::string& variable : options.environment)
    launch.environment.push_back(const_cast<char*>(variable.c_str()));
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (!is_among(*variable, options.environment)) launch.environment.push_back(*variable);
  launch.environment.push_back(nullptr);
  launch.inherit = options.inherit;
  launch.parent = ::getpid();

  Child child;
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  child.stderr_ = UniqueFd(::memfd_create("stderr", MFD_CLOEXEC));
  std::array<int, 2> report{-1, -1};
  if (!null.valid() || !child.stderr_.valid() || ::pipe2(report.data(), O_CLOEXEC) != 0)
    return fail(ErrorCode::io, "cannot start {}: {}", name, std::strerror(errno));
  const UniqueFd report_read(report[0]);
  UniqueFd report_write(report[1]);
  launch.stdin_fd = null.get();
  launch.stdout_fd = options.stdout_fd >= 0 ? options.stdout_fd : null.get();
  launch.stderr_fd = child.stderr_.get();
  launch.report_fd = report_write.get();

  child.pid_ = ::fork();
  if (child.pid_ < 0) return fail(ErrorCode::io, "cannot start {}: {}", name, std::strerror(errno));
  if (child.pid_ == 0) become(launch);
  report_write.reset();
  child.pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, child.pid_, 0)));
  int error = 0;
  if (::read(report_read.get(), &error, sizeof error) > 0)
    return fail(ErrorCode::io, "cannot start {}: {}", launch.program, std::strerror(error));
  if (!child.pidfd_.valid())
    return fail(ErrorCode::unsupported, "pidfd_open failed: {}", std::strerror(errno));
  return child;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      stderr_(std::move(other.stderr_)),
      status_(other.status_) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    kill();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    stderr_ = std::move(other.stderr_);
    status_ = other.status_;
  }
  return *this;
}

Child::~Child() { kill(); }

Result<ExitStatus> Child::wait(Deadline deadline) {
  while (!status_) {
    pollfd ended{pidfd_.get(), POLLIN, 0};
    const int ready = ::poll(&ended, 1, poll_timeout(deadline));
    if (ready < 0 && errno != EINTR)
      return fail(ErrorCode::io, "cannot wait for process {}: {}", pid_, std::strerror(errno));
    if (ready > 0) {
      siginfo_t info{};
      if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0)
        return fail(ErrorCode::io, "cannot wait for process {}: {}", pid_, std::strerror(errno));
      status_ = from_wait(info);
    } else if (Clock::now() >= deadline) {
      return fail(ErrorCode::timeout, "process {} is still running", pid_);
    }
  }
  return *status_;
}

void Child::kill() {
  if (pid_ < 0 || status_) return;
  ::kill(pid_, SIGKILL);
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) == 0) status_ = from_wait(info);
}

std::string Child::error_output(std::size_t limit) const {
  const off_t size = ::lseek(stderr_.get(), 0, SEEK_END);
  if (size <= 0) return {};
  std::string text(std::min<std::size_t>(limit, static_cast<std::size_t>(size)), '\0');
  const off_t from = size - static_cast<off_t>(text.size());
  const ssize_t got = ::pread(stderr_.get(), text.data(), text.size(), from);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

Result<std::string> run_program(const std::vector<std::string>& argv, Deadline deadline,
                                std::size_t limit) {
  UniqueFd output(::memfd_create("stdout", MFD_CLOEXEC));
  if (!output.valid()) return fail(ErrorCode::io, "memfd_create: {}", std::strerror(errno));
  auto child = Child::start({argv, {}, output.get()});
  if (!child) return std::unexpected(child.error());
  const auto status = child->wait(deadline);
  if (!status) return std::unexpected(status.error());
  if (!status->success())
    return fail(ErrorCode::io, "{} failed ({}): {}", argv[0], status->text(),
                child->error_output());
  std::string text(limit, '\0');
  const ssize_t got = ::pread(output.get(), text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

Result<TempDir> TempDir::create() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  for (const char* base : {runtime, "/tmp"}) {
    if (base == nullptr || *base == '\0') continue;
    std::string pattern = fmt::format("{}/glasshook.XXXXXX", base);
    if (::mkdtemp(pattern.data()) != nullptr) return TempDir(pattern);
  }
  return fail(ErrorCode::io, "cannot create a directory in /tmp: {}", std::strerror(errno));
}

TempDir& TempDir::operator=(TempDir&& other) noexcept {
  if (this != &other) {
    remove();
    path_ = std::exchange(other.path_, {});
  }
  return *this;
}

TempDir::~TempDir() { remove(); }

void TempDir::remove() {
  if (!path_.empty()) remove_directory(path_);
  path_.clear();
}

void remove_directory(const fs::path& directory) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored))
    fs::remove_all(entry.path(), ignored);
  ::rmdir(directory.c_str());
}

fs::path cache_directory() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value != nullptr ? value : "");
  };
  if (const fs::path chosen = variable("GLASSHOOK_CACHE"); !chosen.empty()) return chosen;
  if (const fs::path xdg = variable("XDG_CACHE_HOME"); xdg.is_absolute()) return xdg / "glasshook";
  fs::path home = variable("HOME");
  if (home.empty()) {
    const passwd* entry = ::getpwuid(::getuid());
    home = entry != nullptr ? entry->pw_dir : "/tmp";
  }
  return home / ".cache" / "glasshook";
}

}  // namespace glasshook::machine
