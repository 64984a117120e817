// The instructions that are done in the processor's stead, against the processor that runs the
// test. Those that name rsp are not run: the test's own stack is there.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <iomanip>
#include <optional>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "hypervisor/kvm/instruction.h"

namespace glasshook::hypervisor::kvm {
namespace {

constexpr unsigned kRsp = 4, kRip = 16, kNothing = 17;

/// General registers in x86 encoding order, and RFLAGS.
struct Registers {
  std::array<std::uint64_t, 16> general{};
  std::uint64_t flags = 0;
  bool operator==(const Registers&) const = default;
};
static_assert(offsetof(Registers, flags) == 128);

/// Calls `code` with the given registers, but rsp, and puts there what it makes of them.
[[gnu::naked]] void run_code(Registers* /*rdi*/, const void* /*code, rsi*/) {
  asm(R"(
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rsi
    push %rdi
    push 128(%rdi)
    popfq
    mov 0(%rdi), %rax
    mov 8(%rdi), %rcx
    mov 16(%rdi), %rdx
    mov 24(%rdi), %rbx
    mov 40(%rdi), %rbp
    mov 48(%rdi), %rsi
    mov 64(%rdi), %r8
    mov 72(%rdi), %r9
    mov 80(%rdi), %r10
    mov 88(%rdi), %r11
    mov 96(%rdi), %r12
    mov 104(%rdi), %r13
    mov 112(%rdi), %r14
    mov 120(%rdi), %r15
    mov 56(%rdi), %rdi
    call *8(%rsp)
    xchg %rdi, (%rsp)
    mov %rax, 0(%rdi)
    mov %rcx, 8(%rdi)
    mov %rdx, 16(%rdi)
    mov %rbx, 24(%rdi)
    mov %rbp, 40(%rdi)
    mov %rsi, 48(%rdi)
    mov %r8, 64(%rdi)
    mov %r9, 72(%rdi)
    mov %r10, 80(%rdi)
    mov %r11, 88(%rdi)
    mov %r12, 96(%rdi)
    mov %r13, 104(%rdi)
    mov %r14, 112(%rdi)
    mov %r15, 120(%rdi)
    pushfq
    pop 128(%rdi)
    pop 56(%rdi)
    pop %rsi
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
  )");
}

/// A page of code and one of data, where 32 bits address them.
class Pages {
 public:
  Pages()
      : start_(
            static_cast<std::byte*>(mmap(nullptr, 2 * kPageSize, PROT_READ | PROT_WRITE | PROT_EXEC,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0))) {}
  ~Pages() {
    if (there()) munmap(start_, 2 * kPageSize);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  [[nodiscard]] bool there() const { return static_cast<void*>(start_) != MAP_FAILED; }
  [[nodiscard]] std::byte* code() const { return start_; }
  [[nodiscard]] std::byte* data() const { return start_ + kPageSize; }

 private:
  std::byte* start_;
};

std::uint64_t number(const std::byte* at) { return reinterpret_cast<std::uint64_t>(at); }

/// A copy of the page of data.
class DataCopy final : public GuestMemory {
 public:
  explicit DataCopy(const std::byte* data) : start_(number(data)) {
    std::memcpy(bytes.data(), data, bytes.size());
  }
  bool load(Gva from, std::size_t size, std::uint64_t& value) override {
    if (!has(from, size)) return false;
    value = 0;
    std::memcpy(&value, &bytes[from.value - start_], size);
    return true;
  }
  bool store(Gva to, std::uint64_t value) override {
    if (!has(to, sizeof value)) return false;
    std::memcpy(&bytes[to.value - start_], &value, sizeof value);
    return true;
  }
  std::array<std::byte, kPageSize> bytes;

 private:
  [[nodiscard]] bool has(Gva at, std::size_t size) const {
    return at.value >= start_ && at.value - start_ + size <= bytes.size();
  }
  std::uint64_t start_;
};

/// How an instruction is encoded.
struct Form {
  std::vector<int> opcode;
  int immediate = 0;    ///< bytes
  int extension = -1;   ///< the addressing byte's middle bits, if they belong to the opcode
  bool modrm = true;    ///< else there is none
  bool memory = false;  ///< other than registers is accepted
  bool registers = true;
  bool index = true;  ///< accepted in an address
  int rex = 0;        ///< bits that have to be set
};

const std::vector<Form>& forms() {
  static const std::vector<Form> all = [] {
    std::vector<Form> out;
    for (const int operation : {0, 1, 4, 5, 6, 7}) {
      const int base = operation << 3;
      const bool compares = operation == 7;
      for (const int to_register : {0, 2})
        for (const int full : {0, 1})
          out.push_back(
              {.opcode = {base + to_register + full}, .memory = compares || to_register == 2});
      out.push_back({.opcode = {base + 4}, .immediate = 1, .modrm = false});
      out.push_back({.opcode = {base + 5}, .immediate = 4, .modrm = false});
      for (const int opcode : {0x80, 0x81, 0x83})
        out.push_back({.opcode = {opcode},
                       .immediate = opcode == 0x81 ? 4 : 1,
                       .extension = operation,
                       .memory = compares,
                       .index = false});
    }
    for (int r = 0; r < 8; ++r)
      out.push_back({.opcode = {0xb8 + r}, .immediate = 4, .modrm = false});
    out.push_back({.opcode = {0xc7}, .immediate = 4, .extension = 0});
    out.push_back({.opcode = {0xc7},
                   .immediate = 4,
                   .extension = 0,
                   .memory = true,
                   .index = false,
                   .rex = 8});
    out.push_back({.opcode = {0x89}});
    out.push_back({.opcode = {0x89}, .memory = true, .rex = 8});
    out.push_back({.opcode = {0x8b}, .memory = true});
    out.push_back({.opcode = {0x8d}, .memory = true, .registers = false});
    out.push_back({.opcode = {0x63}, .memory = true, .rex = 8});
    for (const int opcode : {0xb6, 0xb7, 0xbe, 0xbf})
      out.push_back({.opcode = {0x0f, opcode}, .memory = (opcode & 1) == 0});
    out.push_back({.opcode = {0x84}, .memory = true});
    out.push_back({.opcode = {0x85}, .memory = true});
    out.push_back({.opcode = {0xa8}, .immediate = 1, .modrm = false});
    out.push_back({.opcode = {0xa9}, .immediate = 4, .modrm = false});
    out.push_back(
        {.opcode = {0xf6}, .immediate = 1, .extension = 0, .memory = true, .index = false});
    out.push_back(
        {.opcode = {0xf7}, .immediate = 4, .extension = 0, .memory = true, .index = false});
    return out;
  }();
  return all;
}

/// An instruction, and the registers with which it finds its operand.
struct Sample {
  std::vector<std::byte> code;
  Registers before;
};

/// Makes samples of one form; each other time an address, where the form has one.
class Samples {
 public:
  explicit Samples(const Pages& pages) : pages_(pages) {}

  /// Empty when chance has it that it is not to be run, or that the form does not have it.
  std::optional<Sample> next(const Form& form) {
    Sample sample;
    for (std::uint64_t& value : sample.before.general) value = interesting();
    sample.before.flags = 0x202 | (random_() & 0x8d5);
    sample.before.general[kRsp] = 0;
    const int rex =
        form.rex |
        (random_() % 3 == 0 && form.rex == 0 ? 0 : 0x40 | static_cast<int>(random_() & 15));
    auto& code = sample.code;
    if (rex != 0) put(code, rex);
    for (const int byte : form.opcode) put(code, byte);
    if (form.modrm) {
      const bool in_memory = form.memory && (!form.registers || random_() % 2 == 0);
      const int middle = form.extension >= 0 ? form.extension : static_cast<int>(random_() & 7);
      if (form.extension < 0 && (middle | (rex & 4) << 1) == kRsp) return {};
      if (!(in_memory ? put_address(sample, form, rex, middle) : put_register(code, rex, middle)))
        return {};
    } else if (form.opcode[0] == 0xb8 + kRsp && (rex & 1) == 0) {
      return {};
    }
    put_immediate(code, form.immediate);
    return sample;
  }

 private:
  static void put(std::vector<std::byte>& code, int byte) {
    code.push_back(static_cast<std::byte>(byte));
  }

  /// Numbers around which flags change are more likely.
  std::uint64_t interesting() {
    const std::uint64_t any = random_();
    switch (random_() % 6) {
      case 0:
        return any >> random_() % 64;
      case 1:
        return (std::uint64_t{1} << random_() % 64) - random_() % 3;
      case 2:
        return 0x7f7f'ffff'7fff'ff7f + random_() % 3;
      case 3:
        return 0 - random_() % 3;
      default:
        return any;
    }
  }
  /// Half of them are the sign extension of a byte.
  void put_immediate(std::vector<std::byte>& code, int bytes) {
    constexpr std::array kUsual{0, -1, 127, -128, 1};
    auto value = static_cast<std::int64_t>(random_());
    if (random_() % 2 == 0) value = kUsual[random_() % kUsual.size()];
    for (int i = 0; i < bytes; ++i) put(code, static_cast<int>(value >> 8 * i & 0xff));
  }

  bool put_register(std::vector<std::byte>& code, int rex, int middle) {
    const int low = static_cast<int>(random_() & 7);
    put(code, 0xc0 | middle << 3 | low);
    return (low | (rex & 1) << 3) != kRsp;
  }

  /// An address of a place in the page of data. An index without a base, no index, and the
  /// address of the next instruction occur as random bytes make them.
  bool put_address(Sample& sample, const Form& form, int rex, int middle) {
    const int mod = static_cast<int>(random_() % 3), rm = static_cast<int>(random_() & 7);
    unsigned base = static_cast<unsigned>(rm | (rex & 1) << 3), index = kNothing, shift = 0;
    put(sample.code, mod << 6 | middle << 3 | rm);
    bool far = mod == 2;
    if (rm == 4) {
      const int sib = static_cast<int>(random_() & 0xff);
      put(sample.code, sib);
      base = static_cast<unsigned>((sib & 7) | (rex & 1) << 3);
      if (mod == 0 && (sib & 7) == 5) base = kNothing;
      const auto named = static_cast<unsigned>((sib >> 3 & 7) | (rex & 2) << 2);
      if (named != kRsp) index = named;
      shift = static_cast<unsigned>(sib >> 6);
    } else if (mod == 0 && rm == 5) {
      base = kRip;
    }
    if (base == kRsp || base == index || (index != kNothing && !form.index)) return false;
    far |= base >= kRip;

    auto& general = sample.before.general;
    const std::uint64_t target = number(pages_.data()) + 0x100 + random_() % 0x800;
    std::int64_t displacement = far        ? static_cast<std::int32_t>(random_())
                                : mod == 1 ? static_cast<std::int8_t>(random_())
                                           : 0;
    if (base == kNothing && index != kNothing) general[index] = random_() & 0xfff'ffff;
    const std::uint64_t from_index = index == kNothing ? 0 : general[index] << shift;
    if (base == kNothing) displacement = static_cast<std::int64_t>(target - from_index);
    if (base == kRip) {
      const std::size_t length = sample.code.size() + 4 + static_cast<std::size_t>(form.immediate);
      displacement = static_cast<std::int64_t>(target - number(pages_.code()) - length);
    }
    if (base < kRip) general[base] = target - from_index - static_cast<std::uint64_t>(displacement);
    if (displacement != static_cast<std::int32_t>(displacement)) return false;
    for (int i = 0; i < (far ? 4 : mod == 1 ? 1 : 0); ++i)
      put(sample.code, static_cast<int>(displacement >> 8 * i & 0xff));
    return true;
  }

  const Pages& pages_;
  std::mt19937_64 random_{7};
};

constexpr std::array kOrder{&kvm_regs::rax, &kvm_regs::rcx, &kvm_regs::rdx, &kvm_regs::rbx,
                            &kvm_regs::rsp, &kvm_regs::rbp, &kvm_regs::rsi, &kvm_regs::rdi,
                            &kvm_regs::r8,  &kvm_regs::r9,  &kvm_regs::r10, &kvm_regs::r11,
                            &kvm_regs::r12, &kvm_regs::r13, &kvm_regs::r14, &kvm_regs::r15};

std::string hex(std::span<const std::byte> code) {
  std::ostringstream out;
  out << std::hex << std::setfill('0');
  for (const std::byte b : code) out << std::setw(2) << static_cast<unsigned>(b) << ' ';
  return out.str();
}

/// Whether the processor and emulate() make the same of it.
testing::AssertionResult is_same(const Pages& pages, const Instruction& instruction,
                                 const Sample& sample) {
  DataCopy copy(pages.data());
  kvm_regs emulated{};
  for (std::size_t i = 0; i < kOrder.size(); ++i) emulated.*kOrder[i] = sample.before.general[i];
  emulated.rip = number(pages.code());
  emulated.rflags = sample.before.flags;
  if (!emulate(instruction, false, emulated, copy))
    return testing::AssertionFailure() << "it is left to the processor";

  std::memcpy(pages.code(), sample.code.data(), sample.code.size());
  pages.code()[sample.code.size()] = std::byte{0xc3};
  Registers native = sample.before;
  run_code(&native, pages.code());

  for (std::size_t i = 0; i < kOrder.size(); ++i)
    if (emulated.*kOrder[i] != native.general[i])
      return testing::AssertionFailure()
             << std::hex << "register " << i << ": " << emulated.*kOrder[i] << ", not "
             << native.general[i] << "; was " << sample.before.general[i];
  if (emulated.rflags != native.flags)
    return testing::AssertionFailure()
           << std::hex << "flags: " << emulated.rflags << ", not " << native.flags;
  if (emulated.rip != number(pages.code()) + sample.code.size())
    return testing::AssertionFailure() << "it ends elsewhere";
  if (std::memcmp(copy.bytes.data(), pages.data(), copy.bytes.size()) != 0)
    return testing::AssertionFailure() << "memory differs";
  return testing::AssertionSuccess();
}

TEST(NativeInstruction, TheProcessorDoesTheSame) {
  const Pages pages;
  if (!pages.there()) GTEST_SKIP() << "no memory may be written to and run";
  std::mt19937_64 random(3);
  for (std::size_t i = 0; i < kPageSize; ++i) pages.data()[i] = static_cast<std::byte>(random());
  Samples samples(pages);
  for (const Form& form : forms()) {
    int accepted = 0;
    for (int i = 0; i < 150; ++i) {
      const auto sample = samples.next(form);
      if (!sample) continue;
      const Instruction instruction = decode(sample->code);
      if (instruction.kind == Instruction::Kind::none) continue;  // such as ah
      ++accepted;
      ASSERT_EQ(instruction.length, sample->code.size()) << hex(sample->code);
      ASSERT_TRUE(is_same(pages, instruction, *sample)) << hex(sample->code);
    }
    EXPECT_GT(accepted, 10) << std::hex << form.opcode[0];
  }
}

}  // namespace
}  // namespace glasshook::hypervisor::kvm
