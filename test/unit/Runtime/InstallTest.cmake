# Installs the runtime, builds the C example against it with find_package, runs
# it on the tests' model, and looks at what the library exports.
# SPDX-License-Identifier: Apache-2.0

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status
                  OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${ARGV} gave ${status}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
run(${CMAKE_COMMAND} --install ${BUILD} --component llqrt --prefix ${WORK}/root)

file(GLOB_RECURSE library ${WORK}/root/libllqrt.so)
run(${NM} -D --defined-only ${library})
string(REGEX MATCHALL "[^\n]+" symbols "${output}")
foreach(symbol ${symbols})
  if(NOT symbol MATCHES " llqrt_[a-z_]+$")
    message(FATAL_ERROR "libllqrt.so exports more than the C API: ${symbol}")
  endif()
endforeach()

set(flags "")
if(SANITIZE)
  set(flags -DCMAKE_C_FLAGS=-fsanitize=${SANITIZE})
endif()
run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${EXAMPLE} -B ${WORK}/example
    -DCMAKE_C_COMPILER=${COMPILER} -DCMAKE_PREFIX_PATH=${WORK}/root ${flags})
run(${CMAKE_COMMAND} --build ${WORK}/example)
run(${MAKE_MODEL} ${WORK}/model.llq)
run(${WORK}/example/generate ${WORK}/model.llq 1 2 3)
if(NOT output MATCHES "^37 19 36 13 .*\n32 tokens in ")
  message(FATAL_ERROR "the example printed: ${output}")
endif()
file(REMOVE_RECURSE ${WORK})
