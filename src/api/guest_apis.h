// The signatures that fit one guest.
#pragma once

#include "api/catalogue.h"

namespace glasshook::api {

/// The catalogues of the platforms whose programs a guest runs: Linux, and Windows where Wine is.
/// Borrows them. Cheap to copy.
class GuestApis {
 public:
  /// `windows`: null for guests without Windows programs.
  GuestApis(const ApiCatalogue& linux, const ApiCatalogue* windows = nullptr)  // NOLINT: implicit
      : linux_(&linux), windows_(windows) {}

  [[nodiscard]] const ApiCatalogue& linux() const { return *linux_; }
  [[nodiscard]] const ApiCatalogue* windows() const { return windows_; }

  /// The signature of a function in a module of either.
  [[nodiscard]] const Signature* find(std::string_view module, std::string_view function) const {
    const Signature* found = linux_->find(module, function);
    return found == nullptr && windows_ != nullptr ? windows_->find(module, function) : found;
  }

 private:
  const ApiCatalogue* linux_;
  const ApiCatalogue* windows_;
};

}  // namespace glasshook::api
