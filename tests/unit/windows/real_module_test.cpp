// A DLL that mingw-w64 made, against what its own objdump says of it.
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>

#include "tiny_pe.h"

namespace glasshook::windows {
namespace {

namespace fs = std::filesystem;
constexpr const char* kTools = "x86_64-w64-mingw32-";

std::string output_of(const std::string& command) {
  std::string output;
  if (FILE* pipe = popen(command.c_str(), "r")) {
    std::array<char, 65536> buffer;
    for (std::size_t size; (size = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
      output.append(buffer.data(), size);
    pclose(pipe);
  }
  return output;
}

class RealPe : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::temp_directory_path() / fmt::format("glasshook-pe-{}", getpid());
    fs::create_directories(folder_);
    write("sample.c", R"(
#include <windows.h>
int table[4] = {1, 2, 3, 4};
__declspec(noinline) int helper(int a) { return a * table[a & 3]; }
int leaf(int a) { return a + 1; }
int framed(int a) { volatile char room[300]; room[a & 255] = 1; return helper(a) + room[3]; }
int choose(int a) { return a > 3 ? helper(a) : (int)GetTickCount(); }
int by_number(int a) { return a ^ 5; }
)");
    write("sample.def", R"(LIBRARY sample.dll
EXPORTS
  leaf
  framed
  choose
  renamed = framed
  by_number @ 40 NONAME
  table DATA
  heap = ntdll.RtlAllocateHeap
)");
    const std::string compiled =
        output_of(fmt::format("cd {} && {}gcc -O2 -shared -o sample.dll sample.c sample.def 2>&1",
                              folder_.string(), kTools));
    message_ = compiled;
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }
  void SetUp() override {
    if (output_of(fmt::format("command -v {}gcc", kTools)).empty()) GTEST_SKIP() << "no mingw-w64";
    ASSERT_TRUE(fs::exists(dll())) << message_;
    std::ifstream stream(dll(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    auto parsed = PeModule::parse(
        std::make_shared<TestSource>(std::vector<std::byte>{begin, begin + text.size()}),
        Layout::file);
    ASSERT_TRUE(parsed) << parsed.error().message;
    module.emplace(std::move(*parsed));
  }

  static fs::path dll() { return folder_ / "sample.dll"; }
  static void write(const char* name, const char* text) { std::ofstream(folder_ / name) << text; }
  static std::string objdump(const char* option) {
    return output_of(fmt::format("{}objdump {} {}", kTools, option, dll().string()));
  }
  [[nodiscard]] std::uint64_t rva(std::string_view name) const {
    const Export* found = module->exports().find(name);
    return found ? found->rva : 0;
  }

  static inline fs::path folder_;
  static inline std::string message_;  ///< of the compiler
  std::optional<PeModule> module;
};

TEST_F(RealPe, ExportsAreThoseOfObjdump) {
  EXPECT_THAT(module->incomplete(), testing::IsEmpty());
  EXPECT_EQ(module->exports().module_name(), "sample.dll");
  const std::string listed = objdump("-p");
  // "[   1] +base[   2]  1350 Export RVA"
  const std::regex line(R"(\+base\[ *(\d+)\] +([0-9a-f]+) (Export|Forwarder) RVA( -- (\S+))?)");
  std::size_t count = 0;
  for (std::sregex_iterator it(listed.begin(), listed.end(), line), end; it != end; ++it) {
    const auto ordinal = static_cast<std::uint32_t>(std::stoul((*it)[1]));
    const Export* found = module->exports().find(ordinal);
    ASSERT_NE(found, nullptr) << ordinal;
    if ((*it)[3] == "Export")
      EXPECT_EQ(found->rva, std::stoull((*it)[2], nullptr, 16));
    else
      EXPECT_EQ(found->forwarder, (*it)[5]);
    ++count;
  }
  EXPECT_EQ(count, 7u);
  EXPECT_EQ(module->exports().all().size(), count);
  EXPECT_EQ(module->exports().find(40u)->name, "");
  EXPECT_EQ(rva("renamed"), rva("framed"));
  EXPECT_FALSE(module->is_code(rva("table")));
  EXPECT_TRUE(module->is_code(rva("leaf")));
}

TEST_F(RealPe, ForwardersLeadElsewhere) {
  EXPECT_EQ(module->target_of(*module->exports().find("heap")),
            (ExportName{"ntdll", "RtlAllocateHeap", 0}));
  EXPECT_EQ(module->target_of(*module->exports().find("framed")), std::nullopt);
}

TEST_F(RealPe, FunctionsEndWhereObjdumpSaysSo) {
  // "00000002fc361000:	00000002fc361000 00000002fc36100c 00000002fc365000"
  const std::string listed = objdump("-p");
  const std::regex line(R"(([0-9a-f]{16}):\s+([0-9a-f]{16}) ([0-9a-f]{16}) [0-9a-f]{16})");
  std::size_t count = 0;
  for (std::sregex_iterator it(listed.begin(), listed.end(), line), end; it != end; ++it) {
    const std::uint64_t base = module->preferred_base();
    const Extent expected{std::stoull((*it)[2], nullptr, 16) - base,
                          std::stoull((*it)[3], nullptr, 16) - base};
    EXPECT_EQ(module->unwind_table().entry(module->image(), count), expected);
    EXPECT_EQ(module->function_at(expected.begin), expected);
    EXPECT_EQ(module->function_at(expected.end - 1), expected);
    ++count;
  }
  EXPECT_GT(count, 5u);
  EXPECT_EQ(module->unwind_table().size(), count);
}

TEST_F(RealPe, EveryReturnOfAnExportIsInItsRanges) {
  // "   1e14a1234:\tret" below "00000001e14a1230 <framed>:"
  const std::string listed = objdump("-d --no-show-raw-insn");
  for (const char* name : {"leaf", "framed", "choose"}) {
    const auto found = elf::find_return_extents(code_of(*module), rva(name));
    const std::size_t begin = listed.find(fmt::format("<{}>:", name));
    ASSERT_NE(begin, std::string::npos) << name;
    const std::string body = listed.substr(begin, listed.find("\n\n", begin) - begin);
    const std::regex line(R"(([0-9a-f]+):\s+ret)");
    for (std::sregex_iterator it(body.begin(), body.end(), line), end; it != end; ++it) {
      const std::uint64_t at = std::stoull((*it)[1], nullptr, 16) - module->preferred_base();
      EXPECT_TRUE(std::ranges::any_of(found.ranges, [&](Extent e) { return e.contains(at); }))
          << name;
    }
    EXPECT_FALSE(found.ranges.empty()) << name;
  }
  // `choose` ends in jumps: to helper(), and through the import of GetTickCount.
  const auto chosen = elf::find_return_extents(code_of(*module), rva("choose"));
  ASSERT_EQ(chosen.tail_call_slots.size(), 1u);
  EXPECT_EQ(module->import_at(chosen.tail_call_slots[0]),
            (ExportName{"kernel32", "GetTickCount", 0}));
}

}  // namespace
}  // namespace glasshook::windows
