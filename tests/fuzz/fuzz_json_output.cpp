// Events made of any bytes come out as one line of valid UTF-8 JSON, and as one line of text.
#include <fuzzer/FuzzedDataProvider.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <cstdlib>

#include "base/text.h"
#include "output/describe.h"
#include "output/json_line.h"

using namespace glasshook;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

std::shared_ptr<const behaviour::Process> any_process(FuzzedDataProvider& data, int ancestors) {
  auto p = std::make_shared<behaviour::Process>();
  p->pid = data.ConsumeIntegral<std::uint32_t>();
  p->name = data.ConsumeRandomLengthString(64);
  p->entity_id = data.ConsumeRandomLengthString(64);
  p->executable = data.ConsumeRandomLengthString(512);
  p->working_directory = data.ConsumeRandomLengthString(512);
  p->container_id = data.ConsumeRandomLengthString(64);
  for (int i = data.ConsumeIntegralInRange(0, 4); i > 0; --i)
    p->arguments.push_back(data.ConsumeRandomLengthString(256));
  if (ancestors > 0 && data.ConsumeBool()) p->parent = any_process(data, ancestors - 1);
  return p;
}

behaviour::Value any_value(FuzzedDataProvider& data) {
  switch (data.ConsumeIntegralInRange(0, 4)) {
    case 0:
      return data.ConsumeIntegral<std::uint64_t>();
    case 1:
      return data.ConsumeIntegral<std::int64_t>();
    case 2:
      return data.ConsumeBool();
    case 3:
      return data.ConsumeRandomLengthString(1024);
    default:
      return std::vector<std::string>{data.ConsumeRandomLengthString(64),
                                      data.ConsumeRandomLengthString(64)};
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static constexpr std::string_view kNames[] = {"file.path",
                                                "file.target_path",
                                                "process.exit_code",
                                                "process.thread.x",
                                                "user.a.b",
                                                "glasshook.target.name",
                                                "glasshook.bytes",
                                                "event.start",
                                                "api.args.path",
                                                "a.b.c.d.e.f.g.h.i.j.k.l",
                                                "x",
                                                "dns.question.name",
                                                "glasshook.raw2",
                                                "destination.ip",
                                                "destination.port",
                                                "dll.path"};
  static output::JsonLines lines({.host_id = "vm", .host_name = "host"});
  FuzzedDataProvider data(bytes, size);

  const auto all = behaviour::actions();
  behaviour::Event event =
      behaviour::make_event(all[data.ConsumeIntegralInRange<std::size_t>(0, all.size() - 1)].name);
  event.time = std::chrono::system_clock::time_point{
      std::chrono::nanoseconds{data.ConsumeIntegral<std::int64_t>()}};
  event.thread_id = data.ConsumeIntegral<std::uint32_t>();
  if (data.ConsumeBool()) event.process = any_process(data, 2);
  for (int i = data.ConsumeIntegralInRange(0, 12); i > 0; --i)
    event.fields.push_back({data.PickValueInArray(kNames), any_value(data)});

  const std::string_view line = lines.event(event);
  require(line.ends_with('\n') && is_valid_utf8(line));
  for (const char c : line.substr(0, line.size() - 1))
    require(static_cast<unsigned char>(c) >= 0x20);
  rapidjson::MemoryStream stream(line.data(), line.size());
  rapidjson::Reader reader;
  rapidjson::BaseReaderHandler<> ignore;
  require(!reader.Parse<rapidjson::kParseValidateEncodingFlag>(stream, ignore).IsError());

  const output::Description words = output::describe(event);
  for (const std::string& text : {words.target, words.result}) {
    require(is_valid_utf8(text));
    for (const char c : text) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  }
  return 0;
}
