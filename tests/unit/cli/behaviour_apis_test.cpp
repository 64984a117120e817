// What behaviour families ask for is in the catalogue, with the parameters they look at.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "api/catalogue.h"
#include "behaviour/family.h"
#include "hook/selector.h"
#include "monitor/family_apis.h"
#include "source_root.h"

namespace glasshook::cli {
namespace {

const api::ApiCatalogue& catalogue() {
  static const auto loaded = [] {
    const std::filesystem::path directories[] = {test::source_root() / "apis" / "windows",
                                                 GLASSHOOK_WINDOWS_APIS};
    return api::ApiCatalogue::load(directories).value();
  }();
  return loaded;
}

TEST(BehaviourApis, AllHaveSignatures) {
  const api::ApiCatalogue linux;
  monitor::FamilyApis apis;
  for (const auto& family : behaviour::make_families())
    EXPECT_EQ(apis.add(*family, {linux, &catalogue()}), std::vector<std::string>{})
        << family->name();
  EXPECT_GE(apis.selection().apis.size(), 20u);
  EXPECT_TRUE(apis.selection().exports.empty());
}

TEST(BehaviourApis, HaveTheParametersThatFamiliesLookAt) {
  const auto expect = [](std::string_view function, std::initializer_list<std::string_view> names) {
    const api::Signature* signature = catalogue().find("ntdll", function);
    ASSERT_NE(signature, nullptr) << function;
    for (const std::string_view name : names)
      EXPECT_NE(std::ranges::find(signature->parameters, name, &api::Parameter::name),
                signature->parameters.end())
          << function << " " << name;
  };
  expect("NtCreateFile",
         {"FileHandle", "DesiredAccess", "ObjectAttributes", "IoStatusBlock", "CreateOptions"});
  expect("NtOpenFile",
         {"FileHandle", "DesiredAccess", "ObjectAttributes", "IoStatusBlock", "OpenOptions"});
  for (const char* name : {"NtReadFile", "NtWriteFile", "NtReadFileScatter", "NtWriteFileGather"})
    expect(name, {"FileHandle", "IoStatusBlock", "Length"});
  expect("NtDeleteFile", {"ObjectAttributes"});
  expect("NtQueryDirectoryFile", {"FileHandle", "FileName"});
  expect("NtSetInformationFile", {"FileHandle", "FileInformation", "FileInformationClass"});
  for (const char* name : {"NtCreateKey", "NtCreateKeyTransacted"})
    expect(name, {"KeyHandle", "ObjectAttributes", "Disposition"});
  for (const char* name :
       {"NtOpenKey", "NtOpenKeyEx", "NtOpenKeyTransacted", "NtOpenKeyTransactedEx"})
    expect(name, {"KeyHandle", "ObjectAttributes"});
  expect("NtRenameKey", {"KeyHandle", "NewName"});
  expect("NtSetValueKey", {"KeyHandle", "ValueName", "Type", "Data", "DataSize"});
  expect("NtQueryValueKey",
         {"KeyHandle", "ValueName", "KeyValueInformationClass", "KeyValueInformation"});
  expect("NtEnumerateValueKey", {"KeyHandle", "KeyValueInformationClass", "KeyValueInformation"});
  expect("NtDeleteValueKey", {"KeyHandle", "ValueName"});
  expect("NtClose", {"Handle"});
  expect("NtDuplicateObject", {"SourceProcessHandle", "SourceHandle", "TargetProcessHandle",
                               "TargetHandle", "HandleAttributes", "Options"});
  expect("NtSetInformationObject", {"Handle", "ObjectInformationClass", "ObjectInformation"});
  expect("NtCreateUserProcess",
         {"ProcessHandle", "ThreadHandle", "ProcessFlags", "ProcessParameters"});
}

}  // namespace
}  // namespace glasshook::cli
