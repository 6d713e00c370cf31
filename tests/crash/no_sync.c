/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Preloaded into a host, makes every sync a lie. The power cuts must find the loss.
 */
int fdatasync(int fd);
int fsync(int fd);

int fdatasync(int fd) {
    (void)fd;
    return 0;
}

int fsync(int fd) {
    (void)fd;
    return 0;
}
