# Flags and helpers shared by every target, compiler or runtime.

set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)

if(LLQ_SANITIZE)
  # vptr needs type information that LLVM's release libraries do not give.
  add_compile_options(-fsanitize=${LLQ_SANITIZE} -fno-sanitize=vptr
                      -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${LLQ_SANITIZE})
endif()

# Plain C++ target settings (no LLVM flags, exceptions allowed): the runtime,
# its tools and the MLIR-free libraries of the compiler.
function(llq_plain_target target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-unused-parameter)
  if(LLQ_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

# llq_add_runtime_tool(name sources...): a tool on the runtime alone.
function(llq_add_runtime_tool name)
  add_executable(${name} ${ARGN})
  llq_plain_target(${name})
  target_link_libraries(${name} PRIVATE llq_tool_support)
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()
