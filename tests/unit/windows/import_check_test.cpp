#include "guest/windows/import_check.h"

#include <gmock/gmock.h>

#include <map>

#include "tiny_pe.h"

namespace glasshook::windows {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

/// A process of hand-made modules.
class TestMemory final : public ProcessMemory {
 public:
  [[nodiscard]] bool read(std::uint64_t address, std::span<std::byte> out) const override {
    const auto behind = modules_.upper_bound(address);
    if (behind == modules_.begin()) return false;
    const auto& [base, bytes] = *std::prev(behind);
    return elf::SpanSource(bytes).read(address - base, out);
  }
  void put(std::uint64_t base, const TinyPe& pe) { modules_[base] = pe.bytes(); }

 private:
  std::map<std::uint64_t, std::vector<std::byte>> modules_;
};

/// tiny.dll imports two functions from kernelbase.dll: Read, which that has, and Forward (#5),
/// which it forwards to ntdll!RtlAllocateHeap; here, ntdll's Open bears that name.
class ImportCheckTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kTiny = 0x10'0000, kKernelBase = 0x20'0000, kNtdll = 0x30'0000;

  ImportCheckTest() {
    tiny_.put_text(TinyPe::kHint + 2, "Read");
    tiny_.put(TinyPe::kLookups + 8, kImportByOrdinal | 5);
    set_slots(kKernelBase + 0x1040, kNtdll + 0x1000);
    ntdll_.put_text(TinyPe::kTexts + 0x30, "RtlAllocateHeap");
    for (const auto& [base, name] :
         {std::pair{kTiny, "tiny.dll"}, {kKernelBase, "KERNELBASE.dll"}, {kNtdll, "ntdll.dll"}})
      modules_.push_back(
          {.base = {base}, .size = TinyPe::kBytes, .entry_point = {}, .path = {}, .name = name});
  }
  void set_slots(std::uint64_t first, std::uint64_t second) {
    tiny_.put(TinyPe::kAddresses, first);
    tiny_.put(TinyPe::kAddresses + 8, second);
  }
  /// Of tiny.dll; the others have the imports of the hand-made module, which are not filled.
  [[nodiscard]] std::vector<ReplacedImport> replaced() const {
    TestMemory memory;
    memory.put(kTiny, tiny_);
    memory.put(kKernelBase, kernel_base_);
    memory.put(kNtdll, ntdll_);
    return replaced_imports(memory, modules_);
  }

  TinyPe tiny_, kernel_base_, ntdll_;
  std::vector<LoadedModule> modules_;
};

TEST_F(ImportCheckTest, NothingWhenTheLoaderFilledThem) { EXPECT_THAT(replaced(), IsEmpty()); }

TEST_F(ImportCheckTest, IntoAnotherModule) {
  set_slots(kTiny + 0x1234, kNtdll + 0x1000);
  const auto found = replaced();
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0],
            (ReplacedImport{.importer = "tiny",
                            .import = {.module = "kernelbase", .name = "Read", .ordinal = 0},
                            .slot = {kTiny + TinyPe::kAddresses},
                            .target = {kTiny + 0x1234},
                            .target_module = "tiny",
                            .target_offset = 0x1234}));
}

TEST_F(ImportCheckTest, IntoNoModule) {
  set_slots(kKernelBase + 0x1040, 0x7fff'0000);
  const auto found = replaced();
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].import.ordinal, 5u);
  EXPECT_EQ(found[0].target_module, "");
  EXPECT_EQ(found[0].target, Gva{0x7fff'0000});
}

TEST_F(ImportCheckTest, NotWhatIsNotFilledYet) {
  set_slots(TinyPe::kHint, kImportByOrdinal | 5);
  EXPECT_THAT(replaced(), IsEmpty());
  set_slots(0, 0);
  EXPECT_THAT(replaced(), IsEmpty());
}

TEST_F(ImportCheckTest, NotWhatNobodyExports) {
  tiny_.put_text(TinyPe::kHint + 2, "Missing");
  set_slots(0x7fff'0000, kNtdll + 0x1000);
  EXPECT_THAT(replaced(), IsEmpty());
}

TEST_F(ImportCheckTest, NotFromModulesThatAreNotThere) {
  set_slots(0x7fff'0000, 0x7fff'0000);
  modules_.erase(modules_.begin() + 1);
  EXPECT_THAT(replaced(), IsEmpty());
}

TEST_F(ImportCheckTest, AnApiSetIsWhateverModuleHasTheExport) {
  tiny_.put_text(TinyPe::kHint + 0x20, "api-ms-win-core-file-l1-2-1.dll");
  set_slots(kKernelBase + 0x1040, kNtdll + 0x1000);
  EXPECT_THAT(replaced(), IsEmpty());
  set_slots(kTiny + 0x1234, 0);
  EXPECT_THAT(replaced(), SizeIs(1));
}

TEST_F(ImportCheckTest, ForwardersInACircleEnd) {
  kernel_base_.put_text(TinyPe::kTexts + 0x60, "KERNELBASE.#5");
  set_slots(kKernelBase + 0x1040, 0x7fff'0000);
  EXPECT_THAT(replaced(), IsEmpty());
}

TEST_F(ImportCheckTest, ManyFindingsAreBounded) {
  // Every word up to the end of the section stands for the first import.
  for (std::uint32_t at = TinyPe::kData; at < TinyPe::kUnwind; at += 8) {
    tiny_.put(at, std::uint64_t{TinyPe::kHint});
    tiny_.put(at - TinyPe::kData + TinyPe::kUnwind, std::uint64_t{0x7fff'0000});
  }
  tiny_.put(TinyPe::kImports,
            ImportDescriptor{TinyPe::kData, 0, 0, TinyPe::kHint + 0x20, TinyPe::kUnwind});
  modules_.insert(modules_.end(), 3000, modules_.front());
  EXPECT_EQ(replaced().size(), kMaxReplacedImports);
}

}  // namespace
}  // namespace glasshook::windows
