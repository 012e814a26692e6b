import Container
import Testing

@Suite struct UserDatabaseTests {
    private let database = UserDatabase(
        passwd: Array(
            """
            root:x:0:0:root:/root:/bin/sh
            web:x:33:34:web server:/var/www:/usr/sbin/nologin
            broken:x:notanumber:0::/evil:/bin/sh
            minus:x:-1:0::/evil:/bin/sh
            huge:x:4294967295:0::/evil:/bin/sh
            short:x:7
            web:x:99:99:the second:/nowhere:/bin/sh
            1000:x:5:6:a name of digits:/digits:/bin/sh
            relative:x:60:60::home:/bin/sh
              spaced : x : 61 : 62 : : /spaced : /bin/sh
            bare:x:63:64
            """.utf8),
        group: Array(
            """
            root:x:0:
            www:x:34:
            adm:x:4:root,web
            dialout:x:20:web
            bad:x:x:web
            staff:x:50:webmaster
            spaced:x:70: web , other
            """.utf8))

    @Test(arguments: [
        ("web", ResolvedUser(uid: 33, gid: 34, groups: [4, 20], home: "/var/www")),
        ("33", ResolvedUser(uid: 33, gid: 34, groups: [4, 20], home: "/var/www")),
        ("web:dialout", ResolvedUser(uid: 33, gid: 20, home: "/var/www")),
        ("web:77", ResolvedUser(uid: 33, gid: 77, home: "/var/www")),
        ("77", ResolvedUser(uid: 77, gid: 0, home: "/")),
        ("77:88", ResolvedUser(uid: 77, gid: 88, home: "/")),
        ("77:www", ResolvedUser(uid: 77, gid: 34, home: "/")),
        ("0", ResolvedUser(uid: 0, gid: 0, groups: [4], home: "/root")),
        (":www", ResolvedUser(uid: 0, gid: 34, home: "/root")),
        ("web:", ResolvedUser(uid: 33, gid: 34, groups: [4, 20], home: "/var/www")),
        ("1000", ResolvedUser(uid: 5, gid: 6, home: "/digits")),
        ("relative", ResolvedUser(uid: 60, gid: 60, home: "/")),
        ("spaced", ResolvedUser(uid: 61, gid: 62, home: "/spaced")),
        ("bare", ResolvedUser(uid: 63, gid: 64, home: "/")),
        ("4294967294", ResolvedUser(uid: 4_294_967_294, gid: 0, home: "/")),
    ]) func resolves(_ specification: String, _ user: ResolvedUser) throws {
        #expect(try database.resolve(specification) == user)
    }

    @Test(arguments: [
        ("nobody", UnknownUser(.user, "nobody")), ("broken", UnknownUser(.user, "broken")), ("minus", UnknownUser(.user, "minus")),
        ("short", UnknownUser(.user, "short")), ("4294967295", UnknownUser(.user, "4294967295")), ("-1", UnknownUser(.user, "-1")),
        ("99999999999999999999", UnknownUser(.user, "99999999999999999999")), ("web:nogroup", UnknownUser(.group, "nogroup")),
        ("web:bad", UnknownUser(.group, "bad")), ("web:4294967295", UnknownUser(.group, "4294967295")), ("we", UnknownUser(.user, "we")),
    ]) func refuses(_ specification: String, _ error: UnknownUser) {
        #expect(throws: error) { try database.resolve(specification) }
    }

    @Test func homesOfNumbers() {
        #expect(database.home(of: 33) == "/var/www")
        #expect(database.home(of: 12345) == "/")
    }

    @Test func filesThatAreNone() throws {
        let noise = UserDatabase(passwd: [0, 10, 58, 58, 58, 10, 255, 58, 58, 48, 58, 48], group: [58, 10, 10, 13, 10, 0, 58, 58, 55])
        #expect(try noise.resolve("5:6") == ResolvedUser(uid: 5, gid: 6))
        #expect(throws: UnknownUser(.user, "a")) { try noise.resolve("a") }
        // A home with a NUL in it would end the environment entry there.
        let cut = UserDatabase(passwd: Array("a:x:1:1::/ho\0me:/bin/sh".utf8), group: [])
        #expect(cut.home(of: 1) == "/")
    }

    @Test func groupsAreAsManyAsAProcessCanHave() throws {
        let lines = (0..<70_000).map { "g\($0):x:\($0):me" }.joined(separator: "\n")
        let many = UserDatabase(passwd: Array("me:x:1:1::/:/bin/sh".utf8), group: Array(lines.utf8))
        #expect(try many.resolve("me").groups.count == UserDatabase.groupLimit)
    }
}
