# Modules are OBJECT libraries. Each sees only its own headers and those of the
# modules it names: its include path is a directory of links to just these.

# Warnings, optimisation and sanitizers for everything that the project compiles.
add_library(multicore_flags INTERFACE)
target_compile_features(multicore_flags INTERFACE c_std_11)
target_compile_options(multicore_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
  -Wvla -Wno-unused-parameter $<$<BOOL:${MULTICORE_WERROR}>:-Werror>)
target_compile_definitions(multicore_flags INTERFACE _GNU_SOURCE)
if(MULTICORE_SANITIZE)
  target_compile_options(multicore_flags INTERFACE
    -fsanitize=${MULTICORE_SANITIZE} -fno-omit-frame-pointer
    $<$<STREQUAL:${MULTICORE_SANITIZE},address>:-fsanitize=undefined>
    $<$<STREQUAL:${MULTICORE_SANITIZE},address>:-fno-sanitize-recover=undefined>)
  target_link_options(multicore_flags INTERFACE
    -fsanitize=${MULTICORE_SANITIZE}
    $<$<STREQUAL:${MULTICORE_SANITIZE},address>:-fsanitize=undefined>)
endif()
if(MULTICORE_FUZZ) # what libFuzzer is to see of the paths that inputs take
  target_compile_options(multicore_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(multicore_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# multicore_module(NAME [USES modules...] [LIBRARIES targets...])
# Compiles NAME/*.c twice: as it ships, and with fault points for the tests.
function(multicore_module name)
  cmake_parse_arguments(arg "" "" "USES;LIBRARIES" ${ARGN})
  set(view ${PROJECT_BINARY_DIR}/view/${name})
  file(MAKE_DIRECTORY ${view})
  foreach(visible ${name} ${arg_USES})
    file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${visible} ${view}/${visible} SYMBOLIC)
  endforeach()
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${name}/*.c)
  foreach(variant "" _faults)
    add_library(${name}${variant}_objects OBJECT EXCLUDE_FROM_ALL ${sources})
    set_target_properties(${name}${variant}_objects PROPERTIES
      POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)
    target_include_directories(${name}${variant}_objects PRIVATE
      ${view} ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(${name}${variant}_objects PRIVATE
      multicore_flags Threads::Threads ${arg_LIBRARIES})
  endforeach()
  target_compile_definitions(${name}_faults_objects PRIVATE MC_FAULTS)
  if(NOT name STREQUAL base) # which holds the points themselves, and nothing that is shared
    target_compile_options(${name}_faults_objects PRIVATE
      -include ${PROJECT_SOURCE_DIR}/base/fault_stores.h)
  endif()
  set_property(GLOBAL APPEND PROPERTY MULTICORE_MODULES ${name})
  set_property(GLOBAL APPEND PROPERTY MULTICORE_LIBRARIES ${arg_LIBRARIES})
endfunction()

# multicore_link_modules(TARGET [VARIANT]): puts all modules into a library.
function(multicore_link_modules target)
  get_property(modules GLOBAL PROPERTY MULTICORE_MODULES)
  get_property(libraries GLOBAL PROPERTY MULTICORE_LIBRARIES)
  foreach(module ${modules})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${module}${ARGN}_objects>)
  endforeach()
  target_link_libraries(${target} PRIVATE multicore_flags Threads::Threads ${libraries})
endfunction()
