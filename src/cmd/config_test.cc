#include "cmd/config.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace vectron::cmd {
namespace {

std::string MessageOf(const Status& status) { return std::string(status.message()); }

class ConfigFileTest : public testing::Test {
 protected:
  ConfigFileTest() {
    std::string name = (std::filesystem::temp_directory_path() / "config_test.XXXXXX").string();
    dir_ = mkdtemp(name.data());
  }
  ~ConfigFileTest() override { std::filesystem::remove_all(dir_); }

  // What reading a file with this text says, with the file's name left out.
  std::string ErrorOf(const std::string& text) {
    const auto values = ReadConfigFile(Write(text));
    return values.ok() ? "accepted" : MessageOf(values.status()).substr(path_.size() + 1);
  }

  std::string Write(const std::string& text) {
    path_ = dir_ + "/vectron.yaml";
    std::ofstream(path_) << text;
    return path_;
  }

  std::string dir_;
  std::string path_;
};

TEST(ConfigTest, FlagBeatsVariableBeatsFileBeatsDefault) {
  const SettingValues flags = {{"k-max", {"11"}}};
  const SettingValues environment = {{"k-max", {"12"}}, {"ef-max", {"22"}}};
  const SettingValues file = {
      {"k-max", {"13"}}, {"ef-max", {"23"}}, {"data-dir", {"/srv/vectron"}}};
  const auto config = ResolveConfig(flags, environment, file, "f.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->limits.k_max, 11u);
  EXPECT_EQ(config->limits.ef_max, 22u);
  EXPECT_EQ(config->data_dir, "/srv/vectron");
  EXPECT_EQ(config->http_listen, (ListenAddress{"127.0.0.1", 6333}));
  EXPECT_EQ(config->grpc_listen, (ListenAddress{"127.0.0.1", 6334}));
}

TEST(ConfigTest, EveryDefaultIsAValueThatTheSettingTakes) {
  for (const Setting& setting : ServeSettings()) {
    ServeConfig config;
    const std::string shown = setting.show(config);
    if (shown.empty()) continue;
    const Status status = setting.parse(shown, &config);
    EXPECT_TRUE(status.ok()) << setting.name << ": " << status;
    EXPECT_EQ(setting.show(config), shown) << setting.name;
  }
}

TEST(ConfigTest, BadValuesAreRefusedByNameAndSource) {
  const auto error = [](const std::string& name, const std::string& value) {
    return MessageOf(ResolveConfig({{name, {value}}}, {}, {}, "").status());
  };
  EXPECT_EQ(error("k-max", "many"), "--k-max: 'many' is not a whole number");
  EXPECT_EQ(error("k-max", "0"), "--k-max: 0 is out of range, it must be 1 to 1000000");
  EXPECT_EQ(error("k-max", "99999999999999999999999"),
            "--k-max: 99999999999999999999999 is out of range, it must be 1 to 1000000");
  EXPECT_EQ(error("http-listen", "6333"), "--http-listen: '6333' is not HOST:PORT");
  EXPECT_EQ(error("http-listen", ":6333"),
            "--http-listen: ':6333' has no host; 0.0.0.0 stands for all interfaces");
  EXPECT_EQ(error("grpc-listen", "localhost:65536"),
            "--grpc-listen: 'localhost:65536': port: 65536 is out of range, it must be 0 to 65535");
  EXPECT_EQ(error("label", "rack"), "--label: 'rack' is not KEY=VALUE");
  EXPECT_EQ(error("log-level", "loud"),
            "--log-level: 'loud' is not one of trace, debug, info, warn, error, off");
  EXPECT_EQ(error("request-bytes-max", "65MiB"),
            "--request-bytes-max: 68157440 bytes are out of range, it must be 1024 to 67108864");
  EXPECT_EQ(error("data-dir", ""), "--data-dir: must not be empty");
  EXPECT_EQ(MessageOf(ResolveConfig({}, {{"k-max", {"x"}}}, {}, "").status()),
            "VECTRON_K_MAX: 'x' is not a whole number");
  EXPECT_EQ(MessageOf(ResolveConfig({}, {}, {{"k-max", {"x"}}}, "f.yaml").status()),
            "f.yaml: k-max: 'x' is not a whole number");
}

TEST(ConfigTest, WhatNeedsAClusterIsRefusedNotIgnored) {
  for (const char* name : {"peers", "join", "internal-listen", "advertise"}) {
    const auto config = ResolveConfig({{name, {"10.0.0.1:6335"}}}, {}, {}, "");
    EXPECT_EQ(ReasonOf(config.status()), Reason::kUnsupported) << name;
    EXPECT_EQ(MessageOf(config.status()).rfind(std::string("--") + name + ": ", 0), 0u);
  }
  EXPECT_EQ(ReasonOf(ResolveConfig({{"roles", {"worker"}}}, {}, {}, "").status()),
            Reason::kUnsupported);
  EXPECT_TRUE(ResolveConfig({{"roles", {"gateway,worker,placement"}}}, {}, {}, "").ok());
  EXPECT_EQ(MessageOf(ResolveConfig({{"roles", {"worker,king"}}}, {}, {}, "").status()),
            "--roles: 'king' is not one of placement, worker, gateway");
}

TEST(ConfigTest, AddressesReadBack) {
  for (const char* text : {"127.0.0.1:0", "[::1]:6333", "db.example:65535"}) {
    const auto address = ParseListenAddress(text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(address->ToString(), text);
  }
  EXPECT_FALSE(ParseListenAddress("::1:6333").ok());
  EXPECT_FALSE(ParseListenAddress("host:").ok());
}

TEST(ConfigTest, EnvironmentGivesSettingsAndReportsWhatItDoesNotKnow) {
  const auto read = ReadEnvironment({{"VECTRON_LABEL", "zone=a,rack=7"},
                                     {"VECTRON_CONFIG", "x.yaml"},
                                     {"VECTRON_DATADIR", "/x"},
                                     {"HOME", "/root"}});
  EXPECT_EQ(read.values.at("label"), (std::vector<std::string>{"zone=a", "rack=7"}));
  EXPECT_EQ(read.values.size(), 1u);
  EXPECT_EQ(read.unknown, (std::vector<std::string>{"VECTRON_DATADIR"}));
}

TEST_F(ConfigFileTest, ReadsScalarsAndLists) {
  const auto values = ReadConfigFile(
      Write("data-dir: /srv/vectron  # comment\nlabel: [zone=a, rack=7]\nk-max: 20\n"));
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_EQ(values->at("label").size(), 2u);
  const auto config = ResolveConfig({}, {}, *values, path_);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->labels[1], (std::pair<std::string, std::string>("rack", "7")));
  EXPECT_TRUE(ReadConfigFile(Write("")).ok());
}

TEST_F(ConfigFileTest, RefusesWhatItDoesNotKnowByLineAndKey) {
  EXPECT_EQ(ErrorOf("k-max: 3\ndata_dir: x\n"), "2: there is no setting 'data_dir'");
  EXPECT_EQ(ErrorOf("k-max: 3\nk-max: 4\n"), "2: k-max is given twice");
  EXPECT_EQ(ErrorOf("k-max: [1, 2]\n"), "1: k-max: must be a single value");
  EXPECT_EQ(ErrorOf("label: {a: b}\n"), "1: label: must be a value or a list of values");
  EXPECT_EQ(ErrorOf("- a\n"), " must be a mapping of settings");
  EXPECT_NE(ErrorOf("k-max: [1,\n"), "accepted");
  EXPECT_EQ(MessageOf(ReadConfigFile(dir_ + "/none.yaml").status()),
            dir_ + "/none.yaml: the configuration file cannot be read");
}

}  // namespace
}  // namespace vectron::cmd
