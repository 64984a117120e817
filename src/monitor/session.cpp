#include "monitor/session.h"

#include "monitor/session_impl.h"

namespace glasshook::monitor {

Result<std::unique_ptr<Session>> Session::start(std::unique_ptr<hypervisor::Hypervisor> hypervisor,
                                                const api::GuestApis& apis, SessionOptions options,
                                                EventSink sink) {
  auto impl =
      std::make_unique<Impl>(std::move(hypervisor), apis, std::move(options), std::move(sink));
  if (auto started = impl->start(); !started) return std::unexpected(started.error());
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

Result<std::size_t> Session::pump(std::chrono::milliseconds timeout) {
  return impl_->pump(timeout);
}
Result<> Session::follow(std::uint32_t pid) { return impl_->follow(pid); }
Result<> Session::add_api(std::string_view api) { return impl_->add_api(api); }
Result<> Session::remove_api(std::string_view api) { return impl_->remove_api(api); }
Result<> Session::finish() { return impl_->finish(); }
Result<output::Summary> Session::summary() { return impl_->summary(); }
const linux_guest::LinuxKernel& Session::kernel() const { return impl_->kernel(); }

}  // namespace glasshook::monitor
