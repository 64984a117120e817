// Places of the registry that make Windows run something by itself.
#pragma once

#include <string_view>

namespace glasshook::behaviour::windows {

/// The MITRE ATT&CK technique of setting that value: "T1547.001" for one in a Run key. Empty for
/// other places. `path` is the value's, from HKLM or HKU on, in any case.
[[nodiscard]] std::string_view autostart_technique(std::string_view path);

}  // namespace glasshook::behaviour::windows
