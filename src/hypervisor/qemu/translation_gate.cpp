#include "hypervisor/qemu/translation_gate.h"

#include <dlfcn.h>
#include <pthread.h>

#include "hypervisor/qemu/import_slot.h"

extern "C" {
[[gnu::visibility("hidden")]] void* glasshook_sigsetjmp = nullptr;  ///< the C library's
/// The one return address whose calls are told; 0: all.
[[gnu::visibility("hidden")]] std::uint64_t glasshook_setjmp_caller = 0;

// Stands for sigsetjmp() in QEMU: tells of the call, then is not there any more, as a function that
// returns twice demands. Layout: SetjmpCall.
void glasshook_setjmp_stub();
asm(R"(
.text
.globl glasshook_setjmp_stub
.hidden glasshook_setjmp_stub
.type glasshook_setjmp_stub, @function
glasshook_setjmp_stub:
  endbr64
  mov glasshook_setjmp_caller(%rip), %rax
  test %rax, %rax
  jz 1f
  cmp %rax, (%rsp)
  jne 2f
1:
  push %rdi
  push %rsi
  push %r15
  push %r14
  push %r13
  push %r12
  push %rbp
  push %rbx
  push %r9
  push %r8
  push %rcx
  push %rdx
  mov %rsp, %rdi
  sub $8, %rsp
  call glasshook_on_setjmp
  add $88, %rsp
  pop %rsi
  pop %rdi
2:
  jmp *glasshook_sigsetjmp(%rip)
)");
}

namespace glasshook::hypervisor::qemu {

namespace {

/// No code has this address.
constexpr std::uint64_t kNobody = 1;

void tell_of_calls_from(std::uint64_t return_address) {
  __atomic_store_n(&glasshook_setjmp_caller, return_address, __ATOMIC_RELEASE);
}

}  // namespace

Result<> TranslationGate::install() {
  glasshook_sigsetjmp = dlsym(RTLD_DEFAULT, "__sigsetjmp");
  if (glasshook_sigsetjmp == nullptr)
    return fail(ErrorCode::unsupported, "this C library has no __sigsetjmp");
  const auto calls = Import::find("__sigsetjmp");
  if (!calls) return std::unexpected(calls.error());
  return calls->replace(reinterpret_cast<void*>(&glasshook_setjmp_stub));
}

TranslationGate::Thread::Thread() {
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
  void* begin = nullptr;
  std::size_t size = 0;
  if (pthread_attr_getstack(&attributes, &begin, &size) == 0) {
    stack_begin = reinterpret_cast<std::uint64_t>(begin);
    stack_end = stack_begin + size;
  }
  pthread_attr_destroy(&attributes);
}

/// A coroutine has its own small stack, and need not have as many words above the call.
bool TranslationGate::Thread::has_on_stack(const SetjmpCall& call) const {
  const auto begin = reinterpret_cast<std::uint64_t>(&call);
  return begin >= stack_begin && begin + sizeof call <= stack_end;
}

TranslationGate::Thread& TranslationGate::thread() {
  thread_local Thread thread;
  return thread;
}

bool TranslationGate::on_setjmp(const SetjmpCall& call, const std::uint64_t* env) {
  Thread& here = thread();
  if (state_.load(std::memory_order_acquire) != kLearning) return decide(here, call, env);
  here.unfinished = true;
  if (here.has_on_stack(call)) here.calls.note(call);
  return false;
}

bool TranslationGate::decide(Thread& thread, const SetjmpCall& call, const std::uint64_t* env) {
  if (call.words[SetjmpCall::kReturnAddress] != call_.return_address) return false;
  std::uint64_t& mask = mask_.of(env);
  if (mask != EventMask::kShowing && mask != EventMask::kHiding) {
    give_up();
    return false;
  }
  const auto* code = reinterpret_cast<const std::byte*>(call.words[call_.code_word]);
  // QEMU (10.0, tcg_ctx->plugin_insn) does not forget the instruction whose translation a page
  // fault ended until it shows the next one: to hide that would have it generate nonsense.
  thread.shown = thread.unfinished || state_.load(std::memory_order_relaxed) == kOff ||
                 wants_(call.words[call_.address_word], code);
  thread.unfinished = thread.shown;
  mask = thread.shown ? EventMask::kShowing : EventMask::kHiding;
  return !thread.shown;
}

bool TranslationGate::on_shown(const Block& block, const std::uint64_t* env) {
  Thread& here = thread();
  here.unfinished = false;
  const int state = state_.load(std::memory_order_acquire);
  if (state == kLearning) return learn(here, block, env);
  // Not what was learnt: the mask hides nothing, or one page does not stand for a whole block.
  if (state == kReady && (!here.shown || !block.one_page)) give_up();
  return false;
}

bool TranslationGate::learn(Thread& thread, const Block& block, const std::uint64_t* env) {
  const std::lock_guard lock(mutex_);
  if (state_.load(std::memory_order_relaxed) != kLearning) return false;
  bool ready = false;
  if (block.instructions > 1 && block.code != 0) {
    if (!mask_.found()) mask_.observe(env);
    const auto found = finder_.observe(thread.calls, block.address, block.code);
    ready = found && mask_.found();
    if (ready) call_ = *found;
  }
  thread.calls.clear();
  if (ready) {
    state_.store(kReady, std::memory_order_release);
    tell_of_calls_from(call_.return_address);
  } else if (++blocks_ >= kMostBlocks) {
    state_.store(kOff, std::memory_order_release);
    tell_of_calls_from(kNobody);
  }
  return ready;
}

/// Each vCPU shows all from its next block on.
void TranslationGate::give_up() { state_.store(kOff, std::memory_order_release); }

}  // namespace glasshook::hypervisor::qemu
