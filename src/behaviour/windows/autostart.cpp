#include "behaviour/windows/autostart.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/text.h"

namespace glasshook::behaviour::windows {
namespace {

struct Place {
  std::string_view glob;  ///< in lower case
  std::string_view technique;
};

/// attack.mitre.org, of the techniques named.
constexpr auto kPlaces = std::to_array<Place>({
    {R"(*\software\*microsoft\windows\currentversion\run\*)", "T1547.001"},
    {R"(*\software\*microsoft\windows\currentversion\runonce\*)", "T1547.001"},
    {R"(*\software\*microsoft\windows\currentversion\runonceex\*)", "T1547.001"},
    {R"(*\software\*microsoft\windows\currentversion\runservices\*)", "T1547.001"},
    {R"(*\software\*microsoft\windows\currentversion\policies\explorer\run\*)", "T1547.001"},
    {R"(*\currentversion\explorer\shell folders\*startup)", "T1547.001"},
    {R"(*\currentversion\explorer\user shell folders\*startup)", "T1547.001"},
    {R"(hklm\system\*\control\session manager\bootexecute)", "T1547.001"},
    {R"(*\microsoft\windows nt\currentversion\winlogon\shell)", "T1547.004"},
    {R"(*\microsoft\windows nt\currentversion\winlogon\userinit)", "T1547.004"},
    {R"(*\microsoft\windows nt\currentversion\winlogon\notify\*)", "T1547.004"},
    {R"(hklm\system\*\control\lsa\*packages)", "T1547.005"},
    {R"(hklm\system\*\control\print\monitors\*\driver)", "T1547.010"},
    {R"(hklm\system\*\services\*\imagepath)", "T1543.003"},
    {R"(hklm\system\*\services\*\parameters\servicedll)", "T1543.003"},
    {R"(*\image file execution options\*\debugger)", "T1546.012"},
    {R"(*\silentprocessexit\*\monitorprocess)", "T1546.012"},
    {R"(*\microsoft\windows nt\currentversion\windows\appinit_dlls)", "T1546.010"},
    {R"(*\control\session manager\appcertdlls\*)", "T1546.009"},
    {R"(*\control panel\desktop\scrnsave.exe)", "T1546.002"},
    {R"(*\clsid\*\inprocserver32\*)", "T1546.015"},
    {R"(*\clsid\*\localserver32\*)", "T1546.015"},
    {R"(*\environment\userinitmprlogonscript)", "T1037.001"},
});

}  // namespace

std::string_view autostart_technique(std::string_view path) {
  std::string lower(path);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  const auto place = std::ranges::find_if(
      kPlaces, [&](const Place& known) { return glob_match(known.glob, lower); });
  return place == kPlaces.end() ? std::string_view{} : place->technique;
}

}  // namespace glasshook::behaviour::windows
