# Links the distribution's libraries from their archives, where it has them (docs/adr/0017).
# One file is easier to carry, and a request comes to its code by direct calls. ThreadSanitizer's
# suppressions name libraries: with a sanitizer they stay shared.
if(VECTRON_SANITIZE)
  set(VECTRON_ARCHIVES_DEFAULT OFF)
else()
  set(VECTRON_ARCHIVES_DEFAULT ON)
endif()
option(VECTRON_ARCHIVES "Link libraries from their archives where there are any"
       ${VECTRON_ARCHIVES_DEFAULT})

# Sets `result` to the archive beside a shared library; to `library` if there is none, or none is
# wanted.
function(vectron_archive_of library result)
  set(${result} "${library}" PARENT_SCOPE)
  if(NOT VECTRON_ARCHIVES OR NOT "${library}" MATCHES "^(/.*)\\.so[.0-9]*$")
    return()
  endif()
  set(archive "${CMAKE_MATCH_1}.a")
  if(EXISTS "${archive}")
    set(${result} "${archive}" PARENT_SCOPE)
  endif()
endfunction()

# Every imported target of this folder that has an archive, and what it asks for by path.
function(vectron_use_archives)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(configurations ${target} IMPORTED_CONFIGURATIONS)
    set(properties IMPORTED_LOCATION)
    foreach(configuration IN LISTS configurations)
      list(APPEND properties IMPORTED_LOCATION_${configuration})
    endforeach()
    foreach(property IN LISTS properties)
      get_target_property(library ${target} ${property})
      if(library)
        vectron_archive_of("${library}" library)
        set_target_properties(${target} PROPERTIES ${property} "${library}")
      endif()
    endforeach()

    get_target_property(needs ${target} INTERFACE_LINK_LIBRARIES)
    if(needs)
      set(archives)
      foreach(need IN LISTS needs)
        vectron_archive_of("${need}" need)
        list(APPEND archives "${need}")
      endforeach()
      set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES "${archives}")
    endif()
  endforeach()
endfunction()
