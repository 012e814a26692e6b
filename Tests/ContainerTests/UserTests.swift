import CLinux
import Container
import ContainerSpec
import Foundation
import Linux
import Testing

/// Users by name, from the image's own files.
extension ContainerSystemTests {
    @Suite struct UserTests {
        private func root() throws -> Root {
            let root = try Root()
            try root.write("root:x:0:0::/root:/bin/sh\nweb:x:33:34::/var/www:/bin/sh\n", to: "/etc/passwd")
            try root.write("www:x:34:\nadm:x:4:web\n", to: "/etc/group")
            return root
        }

        private func identity(_ name: String?, home: String? = nil) -> ContainerSpec {
            var spec = shell("id -u; id -g; id -G; echo $HOME")
            spec.process.env = ["PATH=/bin"] + (home.map { ["HOME=" + $0] } ?? [])
            spec.process.user.username = name
            return spec
        }

        @Test(arguments: [true, false]) func aNameIsTheImages(_ usesInit: Bool) throws {
            var spec = identity("web")
            spec.tether.usesInit = usesInit
            spec.process.user.additionalGids = [77, 4]
            #expect(try run(spec, in: root()).stdout == "33\n34\n34 4 77\n/var/www\n")
        }

        @Test func homeIsTheConfiguredOneIfThereIsOne() throws {
            #expect(try run(identity("web:77", home: "/x"), in: root()).stdout == "33\n77\n77\n/x\n")
            #expect(try run(identity(nil, home: ""), in: root()).stdout == "0\n0\n0\n/root\n")
            var spec = identity(nil)
            spec.process.user.uid = 33
            #expect(try run(spec, in: root()).stdout == "33\n0\n0\n/var/www\n")
        }

        @Test func whoIsNotThereIsNamed() throws {
            let root = try root()
            #expect(throws: LaunchError("find user", "nobody", "no matching entry in the image's /etc/passwd")) {
                try run(identity("nobody"), in: root)
            }
            #expect(throws: LaunchError("find group", "nogroup", "no matching entry in the image's /etc/group")) {
                try run(identity("web:nogroup"), in: root)
            }
        }

        @Test func anImageWithoutTheFilesHasNumbersOnly() throws {
            let root = try Root()
            #expect(try run(identity("7:8"), in: root).stdout == "7\n8\n8\n/\n")
            #expect(try run(identity(nil), in: root).stdout == "0\n0\n0\n/\n")
        }

        @Test func linksOfTheImageLeadNowhereElse() throws {
            let root = try Root()
            try FileManager.default.createSymbolicLink(atPath: root.path + "/etc/passwd", withDestinationPath: "/../../../../etc/elsewhere")
            try root.write("insider:x:5:6::/in:/bin/sh\n", to: "/etc/elsewhere")
            #expect(try run(identity("insider"), in: root).stdout == "5\n6\n6\n/in\n")
            try FileManager.default.removeItem(atPath: root.path + "/etc/passwd")
            #expect(mkfifo(root.path + "/etc/passwd", 0o644) == 0)
            #expect(throws: LaunchError("read", "/etc/passwd of the image", "Invalid argument")) { try run(identity("insider"), in: root) }
            // Not by id(1), which waits for somebody to open the other end.
            var spec = shell("echo $HOME")
            spec.process.env = ["PATH=/bin"]
            #expect(try run(spec, in: root).stdout == "/\n")
        }

        @Test func aFileWithoutEndIsRefused() throws {
            let root = try Root()
            try root.write(String(repeating: "x", count: UserDatabase.fileLimit + 1), to: "/etc/passwd")
            #expect(throws: LaunchError("read", "/etc/passwd of the image", "File too large")) { try run(identity("x"), in: root) }
        }

        @Test func aFurtherProcessSeesTheFilesAsTheyAreNow() throws {
            let root = try root()
            let container = try start(shell("echo 'late:x:90:91::/late:/bin/sh' >> /etc/passwd; echo done; sleep 100"), in: root)
            defer { end(container) }
            _ = read(container.process.stdout, until: { $0.contains("done") })
            let process = try complete(try container.execute(identity("late").process, placement: Placement()))
            #expect(finish(process).stdout == "90\n91\n91\n/late\n")
        }
    }
}
