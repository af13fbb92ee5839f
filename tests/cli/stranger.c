/* SPDX-License-Identifier: Apache-2.0
 *
 * A shared object that is no plugin.
 */
extern int stranger_answer(void);

int stranger_answer(void)
{
    return 42;
}
