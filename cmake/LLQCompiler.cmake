# MLIR, the shared precompiled header, and helpers for compiler targets.

find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22)
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
set(MLIR_LINK_MLIR_DYLIB ON)
set(MLIR_BINARY_DIR ${CMAKE_BINARY_DIR})
set(LLVM_RUNTIME_OUTPUT_INTDIR ${CMAKE_BINARY_DIR}/bin)
set(LLVM_LIBRARY_OUTPUT_INTDIR ${CMAKE_BINARY_DIR}/lib)
include(TableGen)
include(AddLLVM)
include(AddMLIR)
# Save the flags: HandleLLVMOptions adds -fno-exceptions to whole directories,
# and only compiler targets want that.
include(HandleLLVMOptions)

include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
include_directories(${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/include
                    ${CMAKE_BINARY_DIR} ${CMAKE_BINARY_DIR}/include)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
endif()

# One precompiled header for every target that includes MLIR: a conversion pass
# compiles in 3 s instead of 12 s.
add_library(llq_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cpp)
llvm_update_compile_flags(llq_pch)
target_precompile_headers(llq_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)

# llq_add_library(Name sources... [DEPENDS targets...] [LINK_LIBS libs...])
# A component library of the compiler. Links only other LLQ libraries and the
# shared MLIR (naming a static MLIR component would give two copies of it).
function(llq_add_library name)
  cmake_parse_arguments(ARG "NO_PCH" "" "DEPENDS;LINK_LIBS" ${ARGN})
  add_mlir_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS}
                   DEPENDS ${ARG_DEPENDS} DISABLE_INSTALL EXCLUDE_FROM_LIBMLIR
                   PARTIAL_SOURCES_INTENDED)
  target_link_libraries(${name} PUBLIC ${ARG_LINK_LIBS} MLIR LLVM)
  # Visible, because plugins use the dialect and the passes of the tool that
  # loads them.
  set_target_properties(${name} PROPERTIES CXX_VISIBILITY_PRESET default
                        VISIBILITY_INLINES_HIDDEN OFF)
  if(NOT ARG_NO_PCH)
    target_precompile_headers(${name} REUSE_FROM llq_pch)
  endif()
  if(LLQ_WERROR)
    target_compile_options(${name} PRIVATE -Werror)
  endif()
endfunction()

# llq_add_tool(name sources... LINK_LIBS libs...): a tool that links MLIR.
function(llq_add_tool name)
  cmake_parse_arguments(ARG "PLUGINS" "" "LINK_LIBS" ${ARGN})
  add_llvm_executable(${name} ${ARG_UNPARSED_ARGUMENTS} PARTIAL_SOURCES_INTENDED)
  if(ARG_PLUGINS)
    # Plugins find the dialect and the passes in the tool that loads them.
    set_target_properties(${name} PROPERTIES ENABLE_EXPORTS ON)
  endif()
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS} MLIR LLVM)
  target_precompile_headers(${name} REUSE_FROM llq_pch)
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# llq_add_unit_tests(name sources... LABEL quick|slow LINK_LIBS libs...)
# GoogleTests of the compiler's libraries. LLQ_TINY_MODEL is the folder of the
# bundled model.
function(llq_add_unit_tests name)
  cmake_parse_arguments(ARG "" "LABEL" "LINK_LIBS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  llvm_update_compile_flags(${name})
  target_precompile_headers(${name} REUSE_FROM llq_pch)
  target_compile_definitions(${name} PRIVATE
    LLQ_TINY_MODEL="${CMAKE_SOURCE_DIR}/test/models/tiny-llama3")
  target_link_libraries(${name} PRIVATE
    ${ARG_LINK_LIBS} GTest::gtest_main MLIR LLVM)
  gtest_discover_tests(${name} PROPERTIES LABELS ${ARG_LABEL})
endfunction()
