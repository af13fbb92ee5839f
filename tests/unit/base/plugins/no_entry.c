/* SPDX-License-Identifier: Apache-2.0
 *
 * A shared object that is no plugin.
 */
int test_no_entry(void);

int test_no_entry(void)
{
    return 1;
}
