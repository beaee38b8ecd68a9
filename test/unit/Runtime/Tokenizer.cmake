# Tests of the tokenizer, of chat templates and of the sampler.
add_executable(llqrt-tokenizer-tests
  ChatTemplateTest.cpp
  SamplerTest.cpp
  TokenizerDamageTest.cpp
  TokenizerTest.cpp)
llq_plain_target(llqrt-tokenizer-tests)
# Templates are tested from the inside too, with variables of any kind.
target_include_directories(llqrt-tokenizer-tests PRIVATE
  ${CMAKE_SOURCE_DIR}/runtime/src/Tokenizer)
target_compile_definitions(llqrt-tokenizer-tests PRIVATE
  LLQ_TEST_DATA_DIR="${CMAKE_SOURCE_DIR}/test")
target_link_libraries(llqrt-tokenizer-tests PRIVATE
  llqrt_core llqrt_tokenizer nlohmann_json::nlohmann_json GTest::gtest_main)
gtest_discover_tests(llqrt-tokenizer-tests PROPERTIES LABELS quick)
