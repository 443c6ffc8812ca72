/* A production loader: it has no development key at all. */
#include "support.h"

static enum fail install(uint16_t key, uint8_t seed)
{
	static struct made m;
	struct recipe r = good(SLOT_A, 0x01000000u, 0, 1024);

	r.key = key;
	r.seed = seed;
	make_image(&m, r);
	host.operations = 0;
	return install_all(SLOT_A, m.bytes, m.n, 1024);
}

static void test_development_is_refused(void **state)
{
	(void)state;
	host_reset();
	assert_int_equal(install(KEY_DEVELOPMENT, SEED_DEVELOPMENT), FAIL_KEY);
	assert_int_equal(host.operations, 0); /* and nothing was erased for it */
	assert_int_equal(install(KEY_PRODUCTION, SEED_DEVELOPMENT), FAIL_SIGNATURE);
	assert_int_equal(host.operations, 0);
	/* however it came into the slot */
	place_image(good(SLOT_A, 0x01000000u, 0, 1024), 1, true, true);
	assert_int_equal(boot_select(false), NO_SLOT);
}

static void test_production_is_taken(void **state)
{
	(void)state;
	host_reset();
	assert_int_equal(install(KEY_PRODUCTION, SEED_PRODUCTION), FAIL_NONE);
	assert_int_equal(boot_select(false), SLOT_A);
	assert_int_equal(boot_info.production, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_development_is_refused),
		cmocka_unit_test(test_production_is_taken),
	};

	return cmocka_run_group_tests_name("production loader", tests, NULL, NULL);
}
