#include "guest/linux/kernel.h"

#include <utility>
#include <vector>

#include "guest/linux/modules.h"

namespace glasshook::linux_guest {
namespace {

Result<KernelTypes> read_types(const PhysicalMemory& memory, const KernelLocation& location) {
  if (location.btf_size == 0)
    return fail(ErrorCode::unsupported, "the kernel was built without type information");
  std::vector<std::byte> blob(location.btf_size);
  if (!memory.read(location.btf, blob))
    return fail(ErrorCode::guest_fault, "the kernel's type information is not in RAM");
  return KernelTypes::parse(blob);
}

}  // namespace

LinuxKernel::LinuxKernel(const PhysicalMemory& memory, FoundKernel found)
    : memory_(&memory), location_(found.location), banner_(std::move(found.banner)) {
  if (auto types = read_types(memory, location_)) {
    types_ = std::make_unique<KernelTypes>(std::move(*types));
    layout_ = Layout::of(*types_);
  } else {
    types_error_ = types.error().message;
  }
  symbols_ = std::make_unique<KernelSymbols>(std::move(found.symbols));
  core_count_ = symbols_->size();
  if (auto all = symbols_with_modules(*this))
    symbols_ = std::make_unique<KernelSymbols>(std::move(*all));
}

Result<LinuxKernel> LinuxKernel::find(const PhysicalMemory& memory,
                                      std::optional<AddressSpace> running) {
  auto found = find_kernel(memory, running);
  if (!found) return std::unexpected(found.error());
  return LinuxKernel{memory, std::move(*found)};
}

Result<LinuxKernel> LinuxKernel::open(const PhysicalMemory& memory,
                                      const KernelLocation& location) {
  auto found = open_kernel(memory, location);
  if (!found) return std::unexpected(found.error());
  return LinuxKernel{memory, std::move(*found)};
}

Result<> LinuxKernel::require_types() const {
  if (types_ != nullptr) return {};
  return with_remedy(
      fail(ErrorCode::unsupported, "the guest's kernel has no usable BTF: {}", types_error_),
      "use a kernel with CONFIG_DEBUG_INFO_BTF=y; without it only functions can be hooked by name");
}

std::string_view LinuxKernel::release() const {
  constexpr std::string_view kPrefix = "Linux version ";
  std::string_view rest = banner_;
  rest.remove_prefix(std::min(kPrefix.size(), rest.size()));
  return rest.substr(0, rest.find(' '));
}

std::optional<Gva> LinuxKernel::pointer(Gva at) const noexcept {
  const auto value = read<std::uint64_t>(at);
  if (!value || (*value != 0 && !Gva{*value}.is_kernel())) return std::nullopt;
  return Gva{*value};
}

std::string LinuxKernel::text(Gva at, std::size_t max_length) const {
  if (!at.is_kernel()) return {};
  return virtual_memory().read_string(at, max_length).value_or(std::string{});
}

std::optional<Gva> LinuxKernel::symbol(std::string_view name) const {
  const auto found = symbols_->find(name);
  return found ? std::optional{found->address} : std::nullopt;
}

std::optional<AddressSpace> LinuxKernel::space_of(Gva mm) const noexcept {
  const auto pgd = pointer(mm, layout_.mm.pgd);
  const auto root = pgd ? virtual_memory().translate(*pgd) : std::nullopt;
  if (!root || root->gpa.page_offset() != 0) return std::nullopt;
  return AddressSpace{.root = root->gpa, .five_level = space().five_level};
}

}  // namespace glasshook::linux_guest
