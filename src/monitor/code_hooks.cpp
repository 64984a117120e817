#include "monitor/code_hooks.h"

#include <initializer_list>
#include <optional>
#include <utility>

#include "capture/builder.h"
#include "hook/spec.h"

namespace glasshook::monitor {
namespace {

using capture::Builder;
using capture::CpuRegister;
using capture::Op;
using capture::Reg;
using capture::Space;

/// include/linux/mm.h
constexpr std::uint64_t kVmExec = 4;
/// What the loader looks at whenever a program starts holds no code.
constexpr std::uint64_t kHeaders = 1024;

/// Where the fields are that the programs read, in bytes.
struct Fields {
  std::int32_t vma_flags, vma_file, file_mapping, fault_vma, request_file, request_position,
      iterator_count;
};

Result<Fields> fields_of(const linux_guest::LinuxKernel& kernel) {
  const auto& layout = kernel.layout();
  const auto& types = *kernel.types();
  const auto fault_vma = types.offset("vm_fault", "vma");
  const auto file = types.offset("kiocb", "ki_filp"), position = types.offset("kiocb", "ki_pos"),
             count = types.offset("iov_iter", "count");
  if (!fault_vma || !file || !position || !count)
    return fail(ErrorCode::not_found, "this kernel reads files in an unknown way");
  const auto bytes = [](std::uint32_t offset) { return static_cast<std::int32_t>(offset); };
  return Fields{.vma_flags = bytes(layout.vma.flags.bytes()),
                .vma_file = bytes(layout.vma.file.bytes()),
                .file_mapping = bytes(layout.file.mapping.bytes()),
                .fault_vma = bytes(*fault_vma),
                .request_file = bytes(*file),
                .request_position = bytes(*position),
                .iterator_count = bytes(*count)};
}

/// Ends the program unless the area in `vma` can be executed. Uses `flags`.
void stop_unless_executable(Builder& builder, const Fields& fields, Reg vma, Reg flags) {
  const auto executable = builder.new_label();
  builder.load_memory(flags, vma, fields.vma_flags, 8, Space::kernel)
      .jump_if(Op::jump_any_bit, flags, kVmExec, executable)
      .stop()
      .bind(executable);
}

/// Ends the program unless code of the file in `file` is hooked. Uses `scratch`.
void stop_unless_hooked(Builder& builder, const Fields& fields, Reg file, Reg scratch) {
  const auto hooked = builder.new_label();
  builder.load_memory(scratch, file, fields.file_mapping, 8, Space::kernel)
      .set_has(scratch, scratch, kHookedFilesSet)
      .jump_if(Op::jump_ne, scratch, std::uint64_t{0}, hooked)
      .stop()
      .bind(hooked);
}

/// perf_event_mmap(struct vm_area_struct*)
Builder mapping_program(const Fields& fields) {
  constexpr Reg kFile{kCodeMappingFile}, kMapping{kCodeMappingMapping}, kVma{2}, kFlags{3};
  Builder builder;
  builder.load_cpu(kVma, CpuRegister::rdi);
  stop_unless_executable(builder, fields, kVma, kFlags);
  const auto of_file = builder.new_label();
  builder.load_memory(kFile, kVma, fields.vma_file, 8, Space::kernel)
      .jump_if(Op::jump_ne, kFile, std::uint64_t{0}, of_file)
      .stop()
      .bind(of_file)
      .load_memory(kMapping, kFile, fields.file_mapping, 8, Space::kernel)
      .emit_words(hook::kFirstCapture, kFile, kCodeMappingWords)
      .send();
  return builder;
}

/// filemap_fault(struct vm_fault*)
Builder page_in_program(const Fields& fields) {
  constexpr Reg kVma{0}, kFlags{1};
  Builder builder;
  builder.load_cpu(kVma, CpuRegister::rdi)
      .load_memory(kVma, kVma, fields.fault_vma, 8, Space::kernel);
  stop_unless_executable(builder, fields, kVma, kFlags);
  builder.send();
  return builder;
}

/// filemap_read(struct kiocb*, struct iov_iter*, ...) and its like
Builder read_program(const Fields& fields) {
  constexpr Reg kFile{0}, kScratch{1}, kEnd{2}, kRequest{3};
  Builder builder;
  const auto beyond = builder.new_label();
  builder.load_cpu(kRequest, CpuRegister::rdi)
      .load_memory(kFile, kRequest, fields.request_file, 8, Space::kernel);
  stop_unless_hooked(builder, fields, kFile, kScratch);
  builder.load_memory(kEnd, kRequest, fields.request_position, 8, Space::kernel)
      .load_cpu(kRequest, CpuRegister::rsi)
      .load_memory(kScratch, kRequest, fields.iterator_count, 8, Space::kernel)
      .alu(Op::add, kEnd, kScratch)
      .jump_if(Op::jump_gt, kEnd, kHeaders, beyond)
      .stop()
      .bind(beyond)
      .send();
  return builder;
}

/// filemap_splice_read(struct file*, ...) and its like
Builder splice_program(const Fields& fields) {
  constexpr Reg kFile{0}, kScratch{1};
  Builder builder;
  builder.load_cpu(kFile, CpuRegister::rdi);
  stop_unless_hooked(builder, fields, kFile, kScratch);
  builder.send();
  return builder;
}

}  // namespace

Result<std::vector<CodeHook>> code_hooks(const linux_guest::LinuxKernel& kernel) {
  const auto fields = fields_of(kernel);
  if (!fields) return std::unexpected(fields.error());
  struct Wanted {
    CodeHookKind kind;
    std::initializer_list<const char*> functions;  ///< the first that the kernel has
    Builder builder;
    bool needed;
  };
  const Wanted all[] = {
      // Called when an area has come to be, or its protection changes.
      {CodeHookKind::mapping, {"perf_event_mmap"}, mapping_program(*fields), true},
      {CodeHookKind::page_in, {"filemap_fault"}, page_in_program(*fields), true},
      {CodeHookKind::file_read,
       {"filemap_read", "generic_file_buffered_read"},
       read_program(*fields),
       true},
      {CodeHookKind::file_read, {"shmem_file_read_iter"}, read_program(*fields), false},
      // Before 6.5 files are spliced by reading them.
      {CodeHookKind::file_read, {"filemap_splice_read"}, splice_program(*fields), false},
      {CodeHookKind::file_read, {"shmem_file_splice_read"}, splice_program(*fields), false},
  };
  std::vector<CodeHook> hooks;
  for (const Wanted& wanted : all) {
    std::optional<linux_guest::Symbol> function;
    for (const char* name : wanted.functions)
      if (!function) function = kernel.symbols().find(name);
    if (!function && wanted.needed)
      return fail(ErrorCode::not_found, "this kernel has no function {}",
                  *wanted.functions.begin());
    if (!function) continue;
    auto program = wanted.builder.build();
    if (!program) return std::unexpected(program.error());
    hooks.push_back({wanted.kind, *function, std::move(*program)});
  }
  return hooks;
}

}  // namespace glasshook::monitor
