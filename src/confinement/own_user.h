// User ids that belong to nobody, one for each program that is to be kept apart.
#pragma once

#include <sys/types.h>

#include <optional>

namespace glasshook::confinement {

/// An id that no other OwnUser of this machine has while this lives. It is also the group's.
class OwnUser {
 public:
  /// systemd's range for users that are made up for a service and forgotten after it
  /// (systemd.io/UIDS-GIDS): no account has them.
  static constexpr uid_t kFirst = 61184, kLast = 65519;

  /// None when this process may not become another user, or all are taken.
  [[nodiscard]] static std::optional<OwnUser> claim();
  OwnUser(OwnUser&& other) noexcept;
  OwnUser& operator=(OwnUser&& other) noexcept;
  ~OwnUser();

  [[nodiscard]] uid_t id() const { return id_; }

 private:
  OwnUser(uid_t id, int lock) : id_(id), lock_(lock) {}

  uid_t id_;
  int lock_;  ///< a socket whose name holds the id
};

}  // namespace glasshook::confinement
