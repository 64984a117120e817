// Capture expressions and selectors of any bytes; what compiles must pass the verifier, which
// compile() asks.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "hook/compiler.h"
#include "hook/expression.h"
#include "hook/fake_types.h"
#include "hook/selector.h"

using namespace glasshook;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const linux_guest::KernelTypes types = hook::test::fake_types();
  static const linux_guest::KernelSymbols symbols({{Gva{0xffffffff81000000}, 'T', "init_task"}});
  static const hook::Target target{
      .layout = hook::make_guest_layout(types, symbols, 0x40, 16384).value(),
      .types = &types,
      .symbols = &symbols,
      .filter = {}};
  static const auto prototype = types.find_function("vfs_read").value();

  if (size == 0) return 0;
  const auto kind = static_cast<hook::CaptureKind>(data[0] % 6);
  const std::string text(reinterpret_cast<const char*>(data + 1), std::min(size - 1, 4096ul));
  (void)hook::parse_selector(text);
  if (!hook::parse_expression(text)) return 0;

  hook::HookSpec spec;
  spec.functions = {"vfs_read"};
  spec.entry = {.when = {},
                .captures = {{.name = "x", .kind = kind, .expression = text, .length = text}},
                .enabled = true};
  (void)hook::compile(spec, &prototype, target, {1});
  spec.entry = {.when = {text}, .captures = {}, .enabled = false};
  spec.exit = {.when = {text}, .captures = {{.name = "y", .expression = text}}, .enabled = true};
  (void)hook::compile(spec, &prototype, target, {1});
  return 0;
}
