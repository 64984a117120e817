#include "cli/catalogue.h"

#include "machine/resources.h"

namespace glasshook::cli {

Result<api::ApiCatalogue> load_catalogue() {
  const auto directory = machine::data_directory("apis");
  if (!directory) return std::unexpected(directory.error());
  return api::ApiCatalogue::load(*directory / "linux");
}

}  // namespace glasshook::cli
