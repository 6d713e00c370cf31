// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Keys that stand twice in one JSON object. Readers differ in which of the two they take, and Qt's
// takes the last without a word.
#pragma once

#include <QByteArray>
#include <QString>

#include <optional>

namespace waybill {

struct RepeatedKey {
    QString key;
    qsizetype position; ///< byte at which it stands again
};

/// The first one in `json`, which Qt has parsed: it is well-formed. Objects that lie in more than
/// `depth_max` - 1 others are not looked into.
std::optional<RepeatedKey> repeated_key(const QByteArray &json, std::size_t depth_max);

} // namespace waybill
