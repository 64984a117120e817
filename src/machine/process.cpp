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
  std::vector<char*> argv, environment;
  std::vector<int> inherit;
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1, report_fd = -1;
  int parent_pidfd = -1;
  const confinement::Cage* cage = nullptr;
};

/// What the new process says about itself before it is another program.
struct Report {
  int error = 0;              ///< why it is none
  std::uint32_t missing = 0;  ///< confinement::Cage::enter()
};

void report(const Launch& launch, const Report& what) {
  if (::write(launch.report_fd, &what, sizeof what) != sizeof what) ::_exit(126);
}

/// Whether `variables` has one of the same name.
bool is_among(std::string_view variable, const std::vector<std::string>& variables) {
  const std::string_view name = variable.substr(0, variable.find('=') + 1);
  return std::ranges::any_of(variables,
                             [&](const std::string& other) { return other.starts_with(name); });
}

[[noreturn]] void report_and_exit(const Launch& launch) {
  report(launch, {.error = errno});
  ::_exit(127);
}

[[noreturn]] void become(const Launch& launch) {
  if (launch.cage != nullptr) report(launch, {.missing = launch.cage->enter()});
  // Forgotten when the user changes, so after that. Our parent may be gone already; in a process
  // namespace of its own this process could not tell by getppid().
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd parent_ended{launch.parent_pidfd, POLLIN, 0};
  if (::poll(&parent_ended, 1, 0) != 0) ::_exit(125);
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

Result<> read_reports(int fd, const std::string& program, Report& all) {
  for (Report said; ::read(fd, &said, sizeof said) == sizeof said;) {
    all.missing |= said.missing;
    if (said.error != 0)
      return fail(ErrorCode::io, "cannot start {}: {}", program, std::strerror(said.error));
  }
  return {};
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
  launch.cage = options.cage;

  Child child;
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  child.stderr_ = UniqueFd(::memfd_create("stderr", MFD_CLOEXEC));
  std::array<int, 2> report{-1, -1};
  const UniqueFd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!self.valid())
    return fail(ErrorCode::unsupported, "pidfd_open failed: {}", std::strerror(errno));
  if (!null.valid() || !child.stderr_.valid() || ::pipe2(report.data(), O_CLOEXEC) != 0)
    return fail(ErrorCode::io, "cannot start {}: {}", name, std::strerror(errno));
  const UniqueFd report_read(report[0]);
  UniqueFd report_write(report[1]);
  launch.stdin_fd = null.get();
  launch.stdout_fd = options.stdout_fd >= 0 ? options.stdout_fd : null.get();
  launch.stderr_fd = child.stderr_.get();
  launch.report_fd = report_write.get();
  launch.parent_pidfd = self.get();

  child.pid_ = options.cage != nullptr ? options.cage->fork_into() : ::fork();
  if (child.pid_ < 0) return fail(ErrorCode::io, "cannot start {}: {}", name, std::strerror(errno));
  if (child.pid_ == 0) become(launch);
  report_write.reset();
  child.pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, child.pid_, 0)));
  Report all;
  if (auto ok = read_reports(report_read.get(), launch.program, all); !ok)
    return std::unexpected(ok.error());
  if (options.cage != nullptr) child.missing_walls_ = options.cage->missing(all.missing);
  if (!child.pidfd_.valid())
    return fail(ErrorCode::unsupported, "pidfd_open failed: {}", std::strerror(errno));
  return child;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      stderr_(std::move(other.stderr_)),
      status_(other.status_),
      missing_walls_(std::move(other.missing_walls_)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    kill();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    stderr_ = std::move(other.stderr_);
    status_ = other.status_;
    missing_walls_ = std::move(other.missing_walls_);
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
  return create_in({runtime != nullptr ? runtime : "", "/tmp"});
}

Result<TempDir> TempDir::create_in(const std::vector<fs::path>& directories) {
  for (const fs::path& base : directories) {
    if (base.empty()) continue;
    std::string pattern = base / "glasshook.XXXXXX";
    if (::mkdtemp(pattern.data()) != nullptr) return TempDir(pattern);
  }
  return fail(ErrorCode::io, "cannot create a directory in {}: {}", directories.back().native(),
              std::strerror(errno));
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
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
  path_.clear();
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
