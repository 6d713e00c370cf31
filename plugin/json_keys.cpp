// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "json_keys.h"

#include <QJsonArray>
#include <QJsonDocument>

#include <algorithm>
#include <set>
#include <vector>

namespace waybill {

/// Behind the text that begins, with its quotation mark, at `begin`.
static qsizetype end_of_text(const QByteArray &json, qsizetype begin) {
    qsizetype at = begin + 1;
    while (at < json.size() && json[at] != '"')
        at += json[at] == '\\' ? 2 : 1;
    return std::min(at + 1, json.size());
}

/// `text` stands in quotation marks.
static QString spelled_out(const QByteArray &text) {
    // To read it would drop a byte order mark at its beginning, which makes it another key.
    static const QByteArray mark("\"\xEF\xBB\xBF");
    if (text.startsWith(mark))
        return QChar(QChar::ByteOrderMark) + spelled_out('"' + text.mid(mark.size()));
    if (!text.contains('\\'))
        return QString::fromUtf8(text.mid(1, text.size() - 2));
    return QJsonDocument::fromJson('[' + text + ']').array().at(0).toString();
}

std::optional<RepeatedKey> repeated_key(const QByteArray &json, std::size_t depth_max) {
    std::vector<char> open; // brackets
    std::vector<std::set<QString>> keys;
    bool is_key = false;
    for (qsizetype at = 0; at < json.size(); ++at) {
        switch (json[at]) {
        case '{':
            open.push_back('{');
            keys.emplace_back();
            is_key = true;
            break;
        case '[':
            open.push_back('[');
            is_key = false;
            break;
        case '}':
            keys.pop_back();
            [[fallthrough]];
        case ']':
            open.pop_back();
            break;
        case ',':
            is_key = open.back() == '{';
            break;
        case '"': {
            const qsizetype end = end_of_text(json, at);
            if (is_key && keys.size() <= depth_max) {
                QString key = spelled_out(json.mid(at, end - at));
                if (!keys.back().insert(key).second)
                    return RepeatedKey{std::move(key), at};
            }
            is_key = false;
            at = end - 1;
            break;
        }
        default:
            break;
        }
    }
    return std::nullopt;
}

} // namespace waybill
