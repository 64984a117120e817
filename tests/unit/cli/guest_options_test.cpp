#include "cli/guest_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "machine/process.h"

namespace glasshook::cli {
namespace {

using ::testing::HasSubstr;

class GuestOptionsTest : public ::testing::Test {
 protected:
  GuestOptionsTest() { ::setenv("GLASSHOOK_PLUGIN", file("plugin.so", "x").c_str(), 1); }
  ~GuestOptionsTest() override { ::unsetenv("GLASSHOOK_PLUGIN"); }

  std::string file(const char* name, std::string_view content) const {
    const auto path = directory_.path() / name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

  machine::TempDir directory_ = machine::TempDir::create().value();
  GuestOptions options_;
  machine::GuestProfile profile_{.home = "/root"};
};

TEST_F(GuestOptionsTest, DefaultsAskForTheLinuxImage) {
  const auto request = make_guest_request(options_);
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->name, "linux");
  EXPECT_EQ(request->shape.memory_mib, 512u);
  EXPECT_FALSE(request->custom);
  EXPECT_TRUE(request->probe);
}

TEST_F(GuestOptionsTest, UnderKvmTheLibraryIsLoaded) {
  ::setenv("GLASSHOOK_KVM_LIBRARY", file("library.so", "x").c_str(), 1);
  const auto request = make_guest_request(options_, machine::Accelerator::kvm);
  ::unsetenv("GLASSHOOK_KVM_LIBRARY");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->shape.accelerator, machine::Accelerator::kvm);
  EXPECT_EQ(request->plugin.filename(), "library.so");
}

TEST_F(GuestOptionsTest, TheAcceleratorIsWhatWasAskedForOrWhatFits) {
  const auto chosen = [&](const char* accelerator, const MachineNeeds& needs) {
    options_.accelerator = accelerator;
    return choose_accelerator(options_, needs);
  };
  EXPECT_EQ(chosen("tcg", {})->accelerator, machine::Accelerator::tcg);
  EXPECT_THAT(chosen("xen", {}).error().remedy, HasSubstr("kvm"));
  EXPECT_THAT(chosen("kvm", {.user_code = true}).error().message, HasSubstr("libraries"));
  // Without a look at this machine, and without a word.
  const auto all = chosen("auto", {});
  EXPECT_EQ(all->accelerator, machine::Accelerator::tcg);
  EXPECT_EQ(all->note, "");
}

TEST_F(GuestOptionsTest, MemoryCountsInMebibytes) {
  options_.memory = "2G";
  EXPECT_EQ(make_guest_request(options_)->shape.memory_mib, 2048u);
  options_.memory = "1024";
  EXPECT_EQ(make_guest_request(options_)->shape.memory_mib, 1024u);
  for (const char* wrong : {"1M", "4K", "9000T", "x"}) {
    options_.memory = wrong;
    EXPECT_FALSE(make_guest_request(options_)) << wrong;
  }
}

TEST_F(GuestOptionsTest, AMachineHasProcessors) {
  EXPECT_EQ(make_guest_request(options_)->shape.smp, 1u);
  options_.smp = 4;
  EXPECT_EQ(make_guest_request(options_)->shape.smp, 4u);
  for (const std::uint32_t wrong : {0u, 1000u}) {
    options_.smp = wrong;
    EXPECT_FALSE(make_guest_request(options_)) << wrong;
  }
}

TEST_F(GuestOptionsTest, StealthHasTheMemoryAndProcessorsOfAPc) {
  options_.stealth = true;
  const auto request = make_guest_request(options_);
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_TRUE(request->shape.stealth);
  EXPECT_EQ(request->shape.smp, 2u);
  EXPECT_EQ(request->shape.memory_mib, 4096u);
  options_.memory = "512M";
  EXPECT_FALSE(make_guest_request(options_));
  options_.memory = "2G";
  options_.smp = 3;
  EXPECT_FALSE(make_guest_request(options_));
  options_.image = file("disk", "QFI\xfb....");
  options_.smp = 4;
  const auto own = make_guest_request(options_);
  ASSERT_TRUE(own && own->custom);
  EXPECT_TRUE(own->custom->stealth);
  EXPECT_EQ(own->custom->memory_mib, 2048u);
}

TEST_F(GuestOptionsTest, OwnImagesGetTheirFormat) {
  options_.image = file("disk", std::string_view("QFI\xfb\0\0\0\3", 8));
  options_.smp = 4;
  const auto request = make_guest_request(options_);
  ASSERT_TRUE(request && request->custom);
  EXPECT_EQ(request->custom->disks.at(0).format, "qcow2");
  EXPECT_EQ(request->custom->smp, 4u);
  EXPECT_FALSE(request->custom->channel);
  EXPECT_EQ(disk_format(file("raw", std::string(512, '\0'))), "raw");
  EXPECT_EQ(disk_format(file("vmdk", "KDMV....")), "vmdk");
  EXPECT_FALSE(disk_format(file("empty", "")));
}

TEST_F(GuestOptionsTest, RefusesWhatDoesNotFitTogether) {
  options_.append = "quiet";
  EXPECT_THAT(make_guest_request(options_).error().message, HasSubstr("need --kernel"));
  options_.append.clear();
  options_.kernel = "/nonexistent";
  EXPECT_THAT(make_guest_request(options_).error().message, HasSubstr("/nonexistent"));
}

TEST_F(GuestOptionsTest, ChecksFilesAndVariables) {
  options_.copies = {"/nonexistent"};
  EXPECT_FALSE(make_guest_command(options_, profile_, {"true"}));
  options_.copies = {file("a", "x")};
  options_.environment = {"A=b=c"};
  const auto command = make_guest_command(options_, profile_, {"a", "b"});
  ASSERT_TRUE(command);
  EXPECT_EQ(command->directory, "/root");
  EXPECT_TRUE(command->program.empty());
  EXPECT_EQ(command->argv, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(command->copies.size(), 1u);
  for (const char* wrong : {"A", "=b", ""}) {
    options_.environment = {wrong};
    EXPECT_FALSE(make_guest_command(options_, profile_, {"true"})) << wrong;
  }
}

TEST_F(GuestOptionsTest, AWindowsProgramOfThisHostIsDelivered) {
  const std::string sample = file("sample.exe", "junk");
  options_.directory = "/tmp";
  const auto command = make_guest_command(options_, profile_, {sample, "a b"});
  ASSERT_TRUE(command);
  EXPECT_EQ(command->program, sample);
  EXPECT_EQ(command->argv, (std::vector<std::string>{"./sample.exe", "a b"}));
  EXPECT_EQ(command->directory, "/tmp");
  EXPECT_THAT(check_program(options_, profile_, *command).error().remedy,
              HasSubstr("--guest windows-api"));
  profile_.runs_windows_programs = true;
  EXPECT_THAT(check_program(options_, profile_, *command).error().message,
              HasSubstr("does not begin with MZ"));
  // A command of the guest, and a file of this host that is no Windows program.
  for (const std::string& word : {std::string("cmd.exe"), file("script", "#!/bin/sh")}) {
    const auto other = make_guest_command(options_, profile_, {word});
    ASSERT_TRUE(other);
    EXPECT_EQ(other->argv[0], word);
    EXPECT_TRUE(other->program.empty());
    EXPECT_TRUE(check_program(options_, profile_, *other));
  }
}

}  // namespace
}  // namespace glasshook::cli
