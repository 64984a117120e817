#include "behaviour/windows/crypto_family.h"

#include <map>

#include "behaviour/windows/target.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

class CryptoFamily final : public WindowsTableFamily<CryptoFamily> {
 public:
  using WindowsTableFamily::WindowsTableFamily;

  [[nodiscard]] std::string_view name() const override { return "windows-crypto"; }
  [[nodiscard]] std::string_view description() const override {
    return "keys for encryption that Windows programs make";
  }

  static std::vector<Rule> rules() {
    return {{"advapi32!CryptGenKey", &CryptoFamily::on_key},
            {"advapi32!CryptDeriveKey", &CryptoFamily::on_key},
            {"bcrypt!BCryptOpenAlgorithmProvider", &CryptoFamily::on_algorithm},
            {"bcrypt!BCryptGenerateSymmetricKey", &CryptoFamily::on_bcrypt_key},
            {"bcrypt!BCryptGenerateKeyPair", &CryptoFamily::on_bcrypt_key}};
  }

 private:
  using Handle = std::pair<std::string, std::uint64_t>;  ///< entity id, the handle
  /// Algorithms followed; those beyond stay unknown.
  static constexpr std::size_t kMostHandles = 10'000;

  void process_ended(const Process& process, Context&) override {
    std::erase_if(algorithms_,
                  [&](const auto& known) { return known.first.first == process.entity_id; });
  }

  void on_key(const UserCall& call, Context& context) {
    // The upper half of the flags is the length, 0 for the algorithm's usual one.
    tell(call, named(call, "Algid"), call.raw("dwFlags") >> 16 & 0xffff, context);
  }

  void on_algorithm(const UserCall& call, Context&) {
    if (algorithms_.size() < kMostHandles)
      algorithms_[{call.process->entity_id, call.number("phAlgorithm")}] = call.data("pszAlgId");
  }

  void on_bcrypt_key(const UserCall& call, Context& context) {
    const auto known = algorithms_.find({call.process->entity_id, call.raw("hAlgorithm")});
    const bool is_pair = call.name() == "BCryptGenerateKeyPair";
    const std::uint64_t bits =
        (call.raw(is_pair ? "dwLength" : "cbSecret") & 0xffffffff) * (is_pair ? 1 : 8);
    tell(call, known == algorithms_.end() ? "" : known->second, bits, context);
  }

  static void tell(const UserCall& call, std::string algorithm, std::uint64_t bits,
                   Context& context) {
    Event event = make_event("crypto_key_made");
    add(event, "glasshook.method", std::string{call.name()});
    add_known(event, "glasshook.crypto.algorithm", std::move(algorithm));
    if (bits != 0) add_number(event, "glasshook.crypto.bits", bits);
    context.emit(call, std::move(event));
  }

  std::map<Handle, std::string> algorithms_;
};

}  // namespace

std::unique_ptr<Family> make_crypto_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<CryptoFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
