"""What the data plane promises, sentence by sentence, and the tests that prove it.

A bare name is a conformance test, which runs on every driver; ``file::name`` is a test of what one driver has alone.
`tests/test_sentences.py` holds this table against the tests, so that neither can change without the other.
"""

from __future__ import annotations

from typing import Final

STREAMING: Final = {
    "uploads from bytes, text, a path and a binary file": (
        "test_bytes_and_their_relatives_are_uploaded",
        "test_text_is_uploaded_as_utf_8",
        "test_file_at_a_path_is_uploaded",
        "test_open_file_is_read_from_where_it_stands_and_left_open",
        "test_file_in_memory_is_uploaded_and_left_open",
        "test_large_file_is_sent_in_parts",
        "test_what_can_not_be_uploaded_raises_type_error_and_writes_nothing",
    ),
    "uploads from sync and async iterators": (
        "test_sync_and_async_iterators_are_uploaded",
        "test_sync_iterator_of_unknown_size_is_sent_in_parts",
    ),
    "any chunking: yields of 1 byte, of 100 MiB": (
        "test_iterators_may_give_single_and_no_bytes",
        "test_yields_of_one_byte_and_of_a_hundred_mebibytes_are_cut_into_parts",
    ),
    "known and unknown size": (
        "test_iterator_whose_size_is_told_has_to_have_it",
        "test_large_bytes_are_sent_in_parts_and_read_back_whole",
        "test_iterator_of_unknown_size_is_sent_in_parts",
        "test_objects_around_the_size_of_a_part_round_trip",
    ),
    "concurrent parts, their size and number chosen by backend and by call": (
        "test_parts_and_parallelism_can_be_chosen_by_the_call",
        "test_capability_parallel_parts_is_true",
        "test_capability_min_part_size_is_true",
        "test_capability_max_part_size_is_true",
    ),
    "parts grow so that the parts that a service allows suffice": (
        "test_capability_max_parts_is_true",
        "test_capability_equal_parts_is_true",
    ),
    "stream in chunks of any size": (
        "test_chunks_have_exactly_the_asked_size_but_the_last",
        "test_chunks_of_one_byte_work",
        "test_stream_that_is_left_early_gives_its_connection_back",
    ),
    "download of a range": (
        "test_ranges_are_read_as_half_open_intervals",
        "test_ranges_of_an_empty_object_are_empty",
        "test_stream_of_a_range_gives_that_range",
    ),
    "open_reader reads, seeks and iterates": (
        "test_reader_reads_seeks_and_tells_as_a_file_does",
        "test_reader_gives_its_bytes_in_chunks_by_iteration",
        "test_reader_never_mixes_two_versions",
    ),
    "open_writer commits on a clean exit and aborts on an exception": (
        "test_writer_commits_when_its_block_ends",
        "test_writer_aborts_when_its_block_raises",
        "test_writer_aborts_when_its_task_is_cancelled",
    ),
    "download_to and upload_from in parallel ranges and parts above a threshold, temporary file and rename, progress": (
        "test_large_object_comes_into_a_file_by_several_ranges_at_once",
        "test_large_file_goes_up_by_several_parts_at_once",
        "test_file_goes_up_and_comes_down_unchanged",
        "test_download_of_an_object_that_is_replaced_meanwhile_leaves_no_file",
        "test_file_that_changes_while_it_is_sent_is_not_written",
    ),
    "memory of part_size x concurrency and 16 MiB": (
        "test_transfers_take_no_more_memory_than_their_parts",
        "test_reading_ahead_of_the_service_is_bounded",
        "test_stream_reads_only_a_little_ahead_of_its_consumer",
    ),
}

ALL_OR_NOTHING: Final = {
    "failure in the source": (
        "test_iterator_that_raises_at_once_leaves_nothing",
        "test_iterator_that_raises_within_the_first_part_leaves_the_old_object",
        "test_iterator_that_raises_after_a_part_leaves_nothing",
        "test_iterator_that_raises_after_a_part_leaves_the_old_object",
        "test_error_of_the_callers_iterator_reaches_the_caller_as_it_is",
    ),
    "failure of the service": ("test_part_that_fails_leaves_nothing", "test_part_that_fails_leaves_the_old_object"),
    "cancellation at any await": (
        "test_upload_cancelled_at_any_step_leaves_the_old_object_or_the_new_one",
        "test_cancelled_upload_leaves_nothing",
        "test_upload_cancelled_between_parts_leaves_the_old_object",
        "test_upload_in_a_cancelled_asyncio_task_leaves_the_old_object",
    ),
    "timeout": ("test_upload_that_runs_out_of_time_leaves_the_old_object",),
    "the old object or none is visible meanwhile": (
        "test_readers_see_the_old_or_the_new_version_and_never_a_mix",
        "test_racing_writers_of_one_path_leave_one_whole_content_with_its_own_attributes",
        "test_two_uploads_in_parts_to_one_path_do_not_disturb_each_other",
        "test_cancelled_upload_leaves_the_old_object",
    ),
    "the abort is shielded from cancellation and tried again": (
        "test_abort_that_fails_is_tried_again_even_when_cancelled",
        "test_upload_that_was_aborted_can_not_be_completed",
        "test_aborting_twice_is_no_error",
    ),
    "sweep lists and aborts stale multiparts": (
        "test_sweep_finds_and_aborts_what_nobody_finished",
        "test_sweep_spares_what_was_begun_today",
        "test_capability_list_multiparts_is_true",
        "tests/cli/test_sync_and_sweep.py::test_sweep_aborts_what_a_killed_program_left",
    ),
}

CONDITIONS: Final = {
    "if_not_exists on writes of any size, also on the multipart commit": (
        "test_if_not_exists_writes_a_new_object_and_spares_an_old_one",
        "test_if_not_exists_holds_for_uploads_in_parts",
        "test_racing_creates_have_exactly_one_winner",
        "test_capability_if_not_exists_is_true",
    ),
    "if_match on writes of any size, also on the multipart commit": (
        "test_if_match_writes_only_over_the_asked_version",
        "test_if_match_on_a_missing_object_writes_nothing",
        "test_if_match_holds_for_uploads_in_parts",
        "test_capability_if_match_is_true",
    ),
    "if_match and if_none_match on reads": (
        "test_read_with_if_none_match_raises_not_modified_until_the_object_changes",
        "test_read_with_if_match_raises_precondition_failed_when_the_object_changed",
        "test_refused_read_gives_its_connection_back",
    ),
    "conditional delete where the service has it": (
        "test_delete_if_match_spares_other_versions",
        "test_capability_delete_if_match_is_true",
    ),
    "conditional copy where the service has it": (
        "test_copy_if_not_exists_spares_what_is_there",
        "test_copy_if_match_replaces_only_the_asked_version",
        "test_racing_copies_to_an_empty_path_have_exactly_one_winner",
        "test_capability_copy_if_not_exists_is_true",
        "test_capability_copy_if_match_is_true",
    ),
    "update is a compare-and-swap loop": (
        "test_update_makes_changes_and_keeps_an_object",
        "test_update_of_a_large_object_is_conditional_too",
        "test_update_gives_up_after_its_attempts_and_changes_nothing",
        "test_update_whose_function_fails_writes_nothing",
    ),
    "an opaque version beside the etag": (
        "test_version_where_there_is_one_is_new_with_every_write",
        "test_etag_changes_when_content_of_the_same_size_does",
    ),
    "32 workers of 50 increments end at 1,600": (
        "test_update_loses_no_increment_of_many_workers",
        "tests/drivers/test_counter.py::test_32_workers_with_50_increments_each_end_at_exactly_1600",
    ),
}

INTEGRITY: Final = {
    "CRC32C, CRC64NVME, SHA-256 and MD5 are computed while streaming": (
        "test_right_checksum_is_accepted",
        "test_object_has_the_checksum_of_its_bytes",
        "tests/runtime/test_checksums.py::test_crcs_have_their_catalogued_check_values",
        "tests/runtime/test_checksums.py::test_other_libraries_compute_the_same",
        "tests/runtime/test_checksums.py::test_parts_that_come_in_any_order_make_the_whole",
    ),
    "sent where the service verifies": (
        "test_service_is_told_the_checksum_of_every_object_and_part",
        "test_bytes_that_change_on_the_way_up_are_refused_and_nothing_is_visible",
        "test_capability_checksums_is_true",
    ),
    "checked on full reads": (
        "test_bytes_that_change_on_the_way_down_are_found",
        "test_unharmed_objects_pass_the_check_of_every_reader",
        "test_ranges_are_not_checked",
    ),
    "a wrong checksum of the caller is refused and nothing is visible": (
        "test_wrong_checksum_is_refused_and_the_old_content_stays",
        "test_wrong_checksum_of_an_upload_in_parts_leaves_nothing",
        "test_malformed_checksum_is_refused",
    ),
    "when_required for R2 and compatibles": (
        "test_nothing_is_computed_when_it_is_not_required",
        "tests/drivers/test_r2.py::test_r2_is_told_of_no_encryption_and_of_no_new_checksum",
    ),
}

LISTING_AND_BULK: Final = {
    "true string-prefix list": (
        "test_prefix_is_a_string_and_not_a_folder",
        "test_prefix_with_a_slash_does_not_match_longer_names",
        "test_prefix_may_hold_any_character",
        "test_paths_are_in_the_order_of_their_utf_8_bytes",
    ),
    "delimiter": (
        "test_delimiter_rolls_up_what_is_below",
        "test_any_string_can_be_the_delimiter",
        "test_list_with_a_delimiter_gives_one_level",
    ),
    "start_after": ("test_start_after_is_exclusive", "test_start_after_goes_together_with_a_prefix"),
    "limit": ("test_limit_bounds_a_listing", "test_every_page_size_gives_the_same_listing"),
    "resumable cursor": (
        "test_cursor_goes_on_where_another_listing_ended",
        "test_cursor_is_not_disturbed_by_an_insertion_before_it",
        "test_cursor_is_not_disturbed_by_a_deletion_before_it",
    ),
    "strange names of others are listed as they are": (
        "test_strange_names_of_others_are_listed_as_they_are_and_can_be_used",
        "tests/drivers/test_s3_live.py::test_strange_names_are_listed_and_can_be_read_copied_and_deleted",
        "tests/drivers/test_gcs.py::test_strange_names_of_others_are_listed_read_copied_and_deleted",
        "tests/drivers/test_azure.py::test_strange_names_of_others_are_listed_read_copied_and_deleted",
    ),
    "delete_batch: 1,000 a request, a result per path": (
        "test_more_than_a_thousand_objects_are_listed_and_deleted",
        "test_delete_batch_answers_for_every_path_in_order",
        "test_delete_batch_tells_which_path_could_not_be_deleted",
    ),
    "delete_batch where DeleteObjects is missing": (
        "test_delete_batch_goes_one_by_one_where_the_service_has_no_batches",
        "tests/drivers/test_s3_errors.py::test_a_batch_falls_back_to_single_deletes_where_there_are_none",
    ),
    "copy_batch": (
        "test_copy_batch_copies_all_and_gives_the_destinations",
        "test_copy_batch_keeps_the_order_of_copies_that_depend_on_each_other",
        "test_copy_batch_names_what_is_missing",
    ),
    "copy and move on the server": (
        "test_copy_keeps_content_and_every_attribute",
        "test_move_leaves_the_object_at_its_new_path_only",
        "test_sync_inside_a_backend_copies_there",
    ),
    "copy above 5 GiB by parts": (
        "test_object_that_was_uploaded_in_parts_is_copied",
        "tests/drivers/test_s3_live.py::test_a_copy_in_parts_keeps_attributes_and_tags",
    ),
    "across backends by streaming": (
        "test_copy_and_move_to_another_backend_keep_content_and_attributes",
        "test_sync_streams_between_backends_and_keeps_attributes",
    ),
    "sync returns a plan, uploads before it prunes, resumes; dry_run, max_delete, compare": (
        "test_sync_brings_what_is_missing_or_differs_and_nothing_else",
        "test_sync_removes_only_when_asked_and_only_after_copying",
        "test_sync_with_a_failed_copy_tries_the_others_and_removes_nothing",
        "test_sync_that_was_interrupted_goes_on_where_it_was",
        "test_dry_run_and_max_delete_change_nothing",
        "test_sync_compares_as_it_is_told",
    ),
}

LOCAL: Final = {
    "temporary file, fsync of file and folder, rename": (
        "tests/drivers/test_local_crashes.py::test_everything_is_on_the_disk_before_it_becomes_visible",
        "tests/drivers/test_local_crashes.py::test_killed_upload_leaves_the_old_object_and_nothing_in_the_listing",
    ),
    "attributes kept beside the object": (
        "test_all_attributes_round_trip",
        "tests/drivers/test_local_crashes.py::test_attributes_are_there_in_a_second_process",
        "tests/drivers/test_local_crashes.py::test_crash_between_attributes_and_bytes_leaves_the_old_pair",
    ),
    "safe under concurrent processes": (
        "tests/drivers/test_local_crashes.py::test_processes_that_race_to_create_have_one_winner_each_time",
        "tests/drivers/test_local_crashes.py::test_start_of_another_process_spares_uploads_that_live_however_slow_they_are",
    ),
    "contained against .., symlinks, case and Unicode aliasing": (
        "test_invalid_paths_are_refused_by_every_operation",
        "test_paths_that_differ_only_in_case_are_different",
        "test_composed_and_decomposed_characters_are_different",
        "tests/drivers/test_local_names.py::test_every_name_can_stand_on_disk_and_leads_nowhere_else",
        "tests/drivers/test_local_names.py::test_two_paths_never_share_a_place",
        "tests/drivers/test_local_names.py::test_root_on_a_file_system_that_mixes_up_letters_keeps_objects_apart",
        "tests/drivers/test_local_strangers.py::test_symbolic_links_are_never_read_through",
        "tests/drivers/test_local_strangers.py::test_symbolic_links_are_never_written_through",
    ),
    "etag from content": (
        "test_etag_stays_when_nothing_is_written",
        "tests/drivers/test_local_strangers.py::test_etag_of_a_file_of_others_follows_its_content",
        "tests/drivers/test_local_names.py::test_directory_answers_like_the_reference_model",
    ),
}

SENTENCES: Final = STREAMING | ALL_OR_NOTHING | CONDITIONS | INTEGRITY | LISTING_AND_BULK | LOCAL
