# The live model: adds its sources to kms_tracer, and its tests. Included by CMakeLists.txt.

target_sources(kms_tracer PRIVATE
	leaks.c
	live_set.c
	live_set_extent.c
	live_set_walk.c
	model.c
	model_apply.c
	model_commit.c
	model_faults.c
	model_fork.c
	model_history.c
	model_image.c
	model_lists.c
	model_memory.c
	model_modules.c
	model_owners.c
	model_room.c
	model_sample.c
	model_base.c
	model_session.c
	model_stream.c
	model_target.c
	model_whatis.c
	park.c
	site_kin.c
	sites.c
	snapshot.c
	snapshot_build.c
	snapshot_figures.c
	snapshot_leaks.c)
target_link_libraries(kms_tracer PUBLIC m)

# Processes, their threads and rings, simulated with what the model must find.
kms_library(kms_model_world SOURCES
	test/model_world.c
	test/model_world_poll.c
	test/model_world_check.c
	test/model_world_query.c
	LIBS kms_tracer kms_tracer_synth)

# Always the same seeds, so that a red run means a change; soak takes many more. A sanitizer makes a world 10 times slower.
set(rounds 5)
if(KMS_SANITIZE)
	set(rounds 2)
endif()
kms_test(test_model LABEL model SOURCES test/test_model.c LIBS kms_model_world
	ENV KMS_SEED=1 KMS_ROUNDS=${rounds})
if(TARGET test_model AND TARGET kms::cmocka)
	kms_script_test(soak_model LABEL soak COMMAND test_model TIMEOUT 3600 ENV KMS_SEED=1001 KMS_ROUNDS=1000)
endif()
kms_test(test_park LABEL unit SOURCES test/test_park.c LIBS kms_tracer)
kms_test(test_leaks LABEL unit SOURCES test/test_leaks.c LIBS kms_tracer)
kms_test(test_sites LABEL unit SOURCES test/test_sites.c LIBS kms_tracer)
kms_test(test_model_order LABEL unit SOURCES test/test_model_order.c test/model_script.c LIBS kms_tracer kms_tracer_synth)
kms_test(test_model_owners LABEL unit SOURCES test/test_model_owners.c test/model_script.c LIBS kms_tracer kms_tracer_synth)
