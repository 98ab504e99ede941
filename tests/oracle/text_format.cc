#include "tests/oracle/text_format.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include "checkpoint_state.pb.h"

namespace cairn::oracle {

namespace {

class Silence : public google::protobuf::io::ErrorCollector {
  void AddError(int, int, const std::string&) override {}
};

}  // namespace

std::optional<format::tensorflow::StateFacts> parse_text(std::string_view text) {
  CheckpointState message;
  Silence silence;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&silence);
  if (!parser.MergeFromString(std::string(text), &message)) return std::nullopt;
  format::tensorflow::StateFacts state;
  state.model_checkpoint_path = message.model_checkpoint_path();
  state.all_model_checkpoint_paths.assign(message.all_model_checkpoint_paths().begin(),
                                          message.all_model_checkpoint_paths().end());
  state.all_model_checkpoint_timestamps.assign(message.all_model_checkpoint_timestamps().begin(),
                                               message.all_model_checkpoint_timestamps().end());
  state.last_preserved_timestamp = message.last_preserved_timestamp();
  return state;
}

std::string print_text(const format::tensorflow::StateFacts& state) {
  CheckpointState message;
  message.set_model_checkpoint_path(state.model_checkpoint_path);
  for (const std::string& path : state.all_model_checkpoint_paths) {
    message.add_all_model_checkpoint_paths(path);
  }
  for (const double timestamp : state.all_model_checkpoint_timestamps) {
    message.add_all_model_checkpoint_timestamps(timestamp);
  }
  message.set_last_preserved_timestamp(state.last_preserved_timestamp);
  std::string text;
  google::protobuf::TextFormat::PrintToString(message, &text);
  return text;
}

}  // namespace cairn::oracle
