/// Whom a user specification means in an image.
public struct ResolvedUser: Equatable, Sendable {
    public var uid: UInt32
    public var gid: UInt32
    /// Additional groups.
    public var groups: [UInt32]
    public var home: String

    public init(uid: UInt32, gid: UInt32, groups: [UInt32] = [], home: String = "/") {
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home
    }
}

/// A name that the image does not know.
public struct UnknownUser: Error, Equatable, Sendable {
    public enum Kind: Equatable, Sendable { case user, group }
    public let kind: Kind
    public let name: String

    public init(_ kind: Kind, _ name: String) {
        self.kind = kind
        self.name = name
    }
}

/// An image's /etc/passwd and /etc/group (passwd(5), group(5)), read by Docker's rules.
///
/// The files are the image's: whatever they hold is no error. A line whose numbers are none is no entry; of several that match the
/// first counts.
public struct UserDatabase: Sendable {
    /// The largest file that is read, in bytes.
    public static let fileLimit = 1 << 20
    /// The most additional groups a process can have (NGROUPS_MAX).
    public static let groupLimit = 65_536

    private let passwd: [UInt8]
    private let group: [UInt8]

    /// - Parameters:
    ///   - passwd: the content of /etc/passwd, empty if there is none.
    ///   - group: the content of /etc/group.
    public init(passwd: [UInt8], group: [UInt8]) {
        self.passwd = passwd
        self.group = group
    }

    /// Resolves `name`, `uid`, `name:group`, `uid:gid` and mixtures, as `docker run --user` takes them.
    ///
    /// - A number that the image does not know is taken as it is, with group 0.
    /// - Without a group it is the entry's own, and the additional groups are those that name the user as a member.
    /// - With a group there are no additional ones.
    /// - Throws: ``UnknownUser`` for a name that is not there, or a number above 4294967294.
    public func resolve(_ specification: String) throws(UnknownUser) -> ResolvedUser {
        let parts = specification.utf8.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
        let userName = Array(parts[0])
        let groupName = parts.count > 1 ? Array(parts[1]) : []
        // Docker's default user is 0; ":group" leaves it.
        let number = userName.isEmpty ? 0 : UserDatabase.number(userName[...])
        var resolved = ResolvedUser(uid: number ?? 0, gid: 0)
        let entry = user { fields, uid in fields[0].elementsEqual(userName) || uid == number }
        if let entry {
            resolved = ResolvedUser(uid: entry.uid, gid: entry.gid, home: entry.home)
        } else if number == nil {
            throw UnknownUser(.user, String(decoding: userName, as: UTF8.self))
        }
        if !groupName.isEmpty {
            resolved.gid = try gid(of: groupName)
        } else if let entry {
            resolved.groups = groups(of: entry.name)
        }
        return resolved
    }

    /// The home directory of a number's entry; "/" if it has none.
    public func home(of uid: UInt32) -> String { user { _, number in number == uid }?.home ?? "/" }

    private struct Entry {
        var name: ArraySlice<UInt8>
        var uid: UInt32
        var gid: UInt32
        var home: String
    }

    private func user(_ matches: ([ArraySlice<UInt8>], UInt32) -> Bool) -> Entry? {
        var found: Entry?
        // name:password:uid:gid:comment:home:shell
        UserDatabase.forEachLine(of: passwd) { fields in
            guard fields.count >= 4, let uid = UserDatabase.number(fields[2]), let gid = UserDatabase.number(fields[3]),
                matches(fields, uid)
            else { return true }
            let home = fields.count > 5 ? String(decoding: fields[5], as: UTF8.self) : ""
            // What cannot be a path is none: an environment entry ends at a NUL.
            let isPath = home.utf8.first == UInt8(ascii: "/") && !home.utf8.contains(0)
            found = Entry(name: fields[0], uid: uid, gid: gid, home: isPath ? home : "/")
            return false
        }
        return found
    }

    private func gid(of name: [UInt8]) throws(UnknownUser) -> UInt32 {
        let number = UserDatabase.number(name[...])
        var found: UInt32?
        // name:password:gid:members
        UserDatabase.forEachLine(of: group) { fields in
            guard fields.count >= 3, let gid = UserDatabase.number(fields[2]), fields[0].elementsEqual(name) || gid == number else {
                return true
            }
            found = gid
            return false
        }
        guard let gid = found ?? number else { throw UnknownUser(.group, String(decoding: name, as: UTF8.self)) }
        return gid
    }

    private func groups(of user: ArraySlice<UInt8>) -> [UInt32] {
        var groups: [UInt32] = []
        UserDatabase.forEachLine(of: group) { fields in
            guard fields.count >= 4, let gid = UserDatabase.number(fields[2]) else { return true }
            let members = fields[3].split(separator: UInt8(ascii: ","))
            if members.contains(where: { $0.elementsEqual(user) }) { groups.append(gid) }
            return groups.count < UserDatabase.groupLimit
        }
        return groups
    }

    /// Calls `body` with the fields of each line that has some, until it answers false.
    private static func forEachLine(of file: [UInt8], _ body: ([ArraySlice<UInt8>]) -> Bool) {
        for line in file.split(separator: UInt8(ascii: "\n")) {
            // No entry has more than seven; what is behind them is not looked at.
            let fields = line.split(separator: UInt8(ascii: ":"), maxSplits: 7, omittingEmptySubsequences: false).map { trimmed($0) }
            guard let name = fields.first, !name.isEmpty else { continue }
            if !body(fields) { return }
        }
    }

    private static func trimmed(_ field: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte >= 0x09 && byte <= 0x0D }
        var field = field.drop(while: isSpace)
        while let last = field.last, isSpace(last) { field.removeLast() }
        return field
    }

    /// A decimal number that can be an ID, 0–4294967294.
    private static func number(_ digits: ArraySlice<UInt8>) -> UInt32? {
        guard !digits.isEmpty && digits.count <= 10 else { return nil }
        var value: UInt64 = 0
        for digit in digits {
            guard digit >= UInt8(ascii: "0") && digit <= UInt8(ascii: "9") else { return nil }
            value = value * 10 + UInt64(digit - UInt8(ascii: "0"))
        }
        return value < UInt64(UInt32.max) ? UInt32(value) : nil
    }
}
