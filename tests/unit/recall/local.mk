# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/recall/test_folder tests/unit/recall/test_memory
tests_unit_recall_test_folder_SOURCES = tests/unit/recall/test_folder.c
tests_unit_recall_test_folder_LDADD = $(TEST_LIBS)
tests_unit_recall_test_memory_SOURCES = tests/unit/recall/test_memory.c
tests_unit_recall_test_memory_LDADD = $(TEST_LIBS)
