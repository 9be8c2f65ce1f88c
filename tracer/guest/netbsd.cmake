# NetBSD guests, given the kernel's file: adds its sources to kms_tracer, and its tests. Included by ../CMakeLists.txt.
target_sources(kms_tracer PRIVATE
	guest/kernel_front.c
	guest/kernel_view.c
	guest/netbsd_caches.c
	guest/netbsd_front.c
	guest/netbsd_image.c
	guest/netbsd_layout.c
	guest/netbsd_open.c
	guest/netbsd_pages.c
	guest/netbsd_pools.c
	guest/netbsd_saved.c
	guest/netbsd_source.c)
