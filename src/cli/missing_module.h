// What Wine says on the standard error about a program that it cannot start.
#pragma once

#include <string>
#include <string_view>

namespace glasshook::cli {

/// Looks through a program's standard error for the name of a DLL that Wine's loader did not find.
/// The text is the guest's: lines are capped, and what is found may be forged.
class MissingModule {
 public:
  void feed(std::string_view bytes);
  /// The first DLL that was missing, as the guest wrote it; empty: none was.
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  void take_line();

  std::string line_;
  std::string name_;
};

/// Status of a Windows program that did not start for lack of a DLL: the low eight bits of
/// STATUS_DLL_NOT_FOUND, 0xc0000135.
inline constexpr int kDllNotFoundStatus = 0x35;

}  // namespace glasshook::cli
