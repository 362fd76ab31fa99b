# SPDX-License-Identifier: Apache-2.0
# One target per folder. Includes are written from the root; a folder sees another one's headers only if it links it.

add_library(dray_options INTERFACE)
target_compile_options(dray_options INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual -Werror
    -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fvisibility=hidden)
if(DRAY_SANITIZE)
    target_compile_options(dray_options INTERFACE
        -fsanitize=${DRAY_SANITIZE} -fno-omit-frame-pointer -U_FORTIFY_SOURCE)
    target_link_options(dray_options INTERFACE -fsanitize=${DRAY_SANITIZE})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # These warnings misfire in code that the sanitizers have been woven into.
        target_compile_options(dray_options INTERFACE
            -Wno-maybe-uninitialized -Wno-null-dereference -Wno-stringop-overflow)
        if(DRAY_SANITIZE MATCHES "address")
            # Static, so that preload tricks (umockdev) do not trip the runtime's check.
            target_link_options(dray_options INTERFACE -static-libasan)
        endif()
    endif()
else()
    target_compile_options(dray_options INTERFACE -O2)
endif()
if(DRAY_FUZZ)
    # Clang warns of other things than the compiler we build with; here it is only to find its way through the code.
    target_compile_options(dray_options INTERFACE -fsanitize=fuzzer-no-link -fno-sanitize-recover=all -Wno-error)
endif()
target_include_directories(dray_options INTERFACE ${PROJECT_SOURCE_DIR})

# dray_library(NAME FILES a.cpp a.hpp ... LINKS x y)
function(dray_library name)
    cmake_parse_arguments(ARG "" "" "FILES;LINKS" ${ARGN})
    set(headers ${ARG_FILES})
    list(FILTER headers INCLUDE REGEX "\\.hpp$")
    set(sources ${ARG_FILES})
    list(FILTER sources EXCLUDE REGEX "\\.hpp$")
    if(sources)
        add_library(${name} STATIC ${sources})
        set(scope PUBLIC)
    else()
        add_library(${name} INTERFACE)
        set(scope INTERFACE)
    endif()
    if(headers)
        target_sources(${name} ${scope} FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${headers})
        set_target_properties(${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
    endif()
    target_link_libraries(${name} ${scope} dray_options ${ARG_LINKS})
endfunction()

# dray_program(NAME FILES a.cpp ... LINKS x y)
function(dray_program name)
    cmake_parse_arguments(ARG "" "" "FILES;LINKS" ${ARGN})
    add_executable(${name} ${ARG_FILES})
    target_link_libraries(${name} PRIVATE dray_options ${ARG_LINKS})
endfunction()

# dray_test(NAME FILES a_test.cpp ... LINKS x y [LABELS l] [TIMEOUT s]): one GoogleTest program in bin/tests/, one ctest entry.
function(dray_test name)
    cmake_parse_arguments(ARG "" "TIMEOUT" "FILES;LINKS;LABELS" ${ARGN})
    add_executable(${name} ${ARG_FILES})
    target_link_libraries(${name} PRIVATE dray_options GTest::gtest GTest::gmock GTest::gtest_main ${ARG_LINKS})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
    add_test(NAME ${name} COMMAND ${name})
    if(NOT ARG_TIMEOUT)
        set(ARG_TIMEOUT 600)
    endif()
    set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()

# dray_fuzz(NAME FILES a_fuzz.cpp ... LINKS x y): LLVMFuzzerTestOneInput over tests/fuzz/corpus/NAME. In the preset `fuzz`
# a libFuzzer program bin/fuzz/NAME; in all others the ctest entry fuzz_NAME, which replays the corpus.
function(dray_fuzz name)
    cmake_parse_arguments(ARG "" "" "FILES;LINKS" ${ARGN})
    set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
    add_executable(fuzz_${name} ${ARG_FILES})
    target_link_libraries(fuzz_${name} PRIVATE dray_options ${ARG_LINKS})
    if(DRAY_FUZZ)
        target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
        set_target_properties(fuzz_${name} PROPERTIES
            OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/fuzz)
    else()
        target_sources(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.cpp)
        set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
        add_test(NAME fuzz_${name} COMMAND fuzz_${name} ${corpus})
        set_tests_properties(fuzz_${name} PROPERTIES TIMEOUT 120 LABELS fuzz)
    endif()
endfunction()
