import CLinux
import CMount
import Linux
import Testing

@testable import Storage

@Suite("Disk specifier") struct DiskSpecifierTests {
    @Test(arguments: [
        ("LABEL=containerfs", DiskSpecifier.label("containerfs")), ("LABEL=a=b c", .label("a=b c")), ("UUID=ab-12", .uuid("ab-12")),
        ("PARTLABEL=root", .partLabel("root")), ("PARTUUID=0fc6", .partUUID("0fc6")), ("/dev/sda", .path("/dev/sda")),
    ])
    func theFiveFormsAreRead(_ text: String, _ specifier: DiskSpecifier) {
        #expect(DiskSpecifier(text) == specifier)
        #expect(specifier.description == text)
    }

    @Test(arguments: ["", "LABEL=", "label=x", "sda", "ID=x", "=x", "LABEL", "LABEL=a\u{0}b", "/dev/\u{0}"])
    func anythingElseIsRefused(_ text: String) { #expect(DiskSpecifier(text) == nil) }
}

@Suite("Mount options") struct MountOptionsTests {
    @Test func flagsPropagationAndDataAreTakenApart() throws {
        let options = try MountOptions.parse([
            "nosuid", "strictatime", "mode=755", "rbind", "rslave", "size=65536k", "rshared", "noexec,nodev",
        ])
        #expect(options.flags == UInt(MS_NOSUID | MS_STRICTATIME | MS_BIND | MS_REC | MS_NOEXEC | MS_NODEV))
        #expect(options.propagation == [UInt(MS_SLAVE | MS_REC), UInt(MS_SHARED | MS_REC)])
        #expect(options.data == "mode=755,size=65536k")
    }

    @Test(
        arguments: [
            (["ro"], UInt(MS_RDONLY)), (["ro", "rw"], 0), (["rw", "ro"], UInt(MS_RDONLY)), (["bind", "ro"], UInt(MS_BIND | MS_RDONLY)),
            (["relatime"], UInt(MS_RELATIME)), (["noatime", "atime"], 0), (["nosuid", "suid"], 0),
            (["sync", "dirsync"], UInt(MS_SYNCHRONOUS | MS_DIRSYNC)),
            (["nosymfollow"], 256), (["defaults"], 0), ([], 0), ([""], 0),
        ] as [([String], UInt)])
    func aLaterFlagOverridesAnEarlier(_ list: [String], _ flags: UInt) throws {
        let options = try MountOptions.parse(list)
        #expect(options.flags == flags)
        #expect(options.propagation == [])
        #expect(options.data == "")
    }

    @Test func whatIsForProgramsIsDropped() throws {
        #expect(
            try MountOptions.parse(["nofail", "_netdev", "x-systemd.automount", "comment=hello", "noauto", "X-mount.mkdir"])
                == MountOptions())
    }

    @Test(arguments: [
        "rro", "rnosuid", "rnoatime", "tmpcopyup", "idmap", "ridmap", "move", "loop", "loop=/dev/loop0", "user", "users", "owner",
    ])
    func whatWeCannotDoIsRefusedByName(_ option: String) {
        let error = #expect(throws: StorageError.self) { try MountOptions.parse(["ro", option]) }
        #expect(error?.kind == .invalidRequest)
        #expect(error?.object == option)
    }

    @Test func aQuotedValueKeepsItsComma() throws {
        #expect(try MountOptions.parse(["context=\"a,b\",ro"]).data == "context=\"a,b\"")
        #expect(throws: StorageError.self) { try MountOptions.parse(["context=\"a,b"]) }
        #expect(throws: StorageError.self) { try MountOptions.parse(["a\u{0}b"]) }
    }

    @Test func aDiskCannotBeBound() {
        for option in ["bind", "rbind", "remount", "rprivate"] {
            var request = RootfsRequest(device: .label("x"), target: "/x")
            request.options = [option]
            let error = #expect(throws: StorageError.self) { try Storage.rootfsOptions(request) }
            #expect(error?.kind == .invalidRequest)
        }
    }

    @Test func readonlyWinsOverRw() throws {
        let request = RootfsRequest(device: .label("x"), options: ["rw", "noatime"], readOnly: true, target: "/x")
        #expect(try Storage.rootfsOptions(request).flags == UInt(MS_RDONLY | MS_NOATIME | MS_NODEV))
    }
}

@Suite("Mount table") struct MountInfoTests {
    static let table = Array(
        """
        22 1 0:2 / / rw - rootfs rootfs rw
        30 22 8:0 / /run/rootfs rw,noatime shared:1 master:2 - ext4 /dev/sda rw
        31 30 0:30 / /run/rootfs/proc rw - proc proc rw
        32 30 0:31 / /run/rootfs/a\\040b\\134c rw - tmpfs tmpfs rw
        34 33 0:33 / /run/rootfs/proc/x rw - tmpfs tmpfs rw
        33 31 0:32 / /run/rootfs/proc rw - tmpfs tmpfs rw
        35 22 0:34 / /run/rootfs2 rw - tmpfs tmpfs rw
        garbage
        40 x 0:34 / /x rw - tmpfs tmpfs rw
        41 22 0:34 / /x rw tmpfs tmpfs rw no dash

        """.utf8)

    @Test func linesAreRead() throws {
        let mounts = MountInfo.parse(Self.table)
        #expect(mounts.map(\.id) == [22, 30, 31, 32, 34, 33, 35])
        let disk = try #require(mounts.first { $0.id == 30 })
        #expect(disk.parent == 22)
        #expect(disk.type == "ext4")
        #expect(disk.source == "/dev/sda")
        #expect(disk.options == "rw,noatime")
        #expect(mounts[3].pointText == "/run/rootfs/a b\\c")
    }

    @Test func whatStandsOnAMountGoesFirst() {
        let order = MountInfo.unmountOrder(MountInfo.parse(Self.table), below: Array("/run/rootfs".utf8))
        #expect(order.map(\.id) == [34, 33, 32, 31, 30])
    }

    @Test func aCircleOfParentsEnds() {
        let table = MountInfo.parse(Array("1 2 0:1 / /a rw - tmpfs a rw\n2 1 0:2 / /a/b rw - tmpfs b rw\n".utf8))
        #expect(MountInfo.unmountOrder(table, below: Array("/a".utf8)).count == 2)
    }

    @Test(arguments: [("a\\040b", "a b"), ("\\134040", "\\040"), ("a\\04", "a\\04"), ("\\", "\\"), ("\\999", "\\999"), ("", "")])
    func escapesAreUndone(_ field: String, _ text: String) {
        #expect(MountInfo.unescape(Array(field.utf8)[...]) == Array(text.utf8))
    }

    @Test func theTableOfThisMachineIsRead() throws {
        let mounts = MountInfo.parse(try Files.read("/proc/self/mountinfo", limit: 4 << 20))
        #expect(mounts.contains { $0.pointText == "/proc" && $0.type == "proc" })
    }
}

@Suite("Kernel log") struct KernelLogTests {
    @Test func theMessageOfARecordIsFound() {
        let record = Array("3,1234,98765,-;EXT4-fs (sda): VFS: Can't find ext4 filesystem\n SUBSYSTEM=block\n".utf8)
        #expect(KernelLog.text(of: record[...]).map { Array($0) } == Array("EXT4-fs (sda): VFS: Can't find ext4 filesystem".utf8))
        #expect(KernelLog.text(of: Array("no record".utf8)[...]) == nil)
    }

    @Test(arguments: [
        ("EXT4-fs (sda): bad", true), ("sda", true), ("I/O error, dev sda, sector 0", true), ("EXT4-fs (sda1): bad", false),
        ("xsda", false),
        ("", false), ("sdasda sda", true), ("XFS (SDA)", false),
    ])
    func aDeviceIsNamedAsAWord(_ text: String, _ isNamed: Bool) {
        #expect(KernelLog.names("sda", in: Array(text.utf8)[...]) == isNamed)
        #expect(!KernelLog.names("", in: Array(text.utf8)[...]))
    }
}

@Suite("Disk match") struct DiskMatchTests {
    private func disk(_ name: String, _ label: String?, uuid: String? = nil, partition: PartitionEntry? = nil) -> BlockDevice {
        var device = BlockDevice(name: name, path: "/dev/" + name)
        device.size = 16 << 20
        device.content = .filesystem(Filesystem(type: "ext4", label: label, uuid: uuid, usage: "filesystem"), partition: partition)
        return device
    }

    @Test func labelsAreComparedExactly() {
        let disks = [disk("sda", "containerfs"), disk("sdb", "Containerfs"), disk("sdc", nil)]
        #expect(DiskMatch(.label("containerfs"), in: disks) == .one(disks[0]))
        #expect(DiskMatch(.label("container"), in: disks) == .none)
    }

    @Test func uuidsAreComparedWithoutCase() {
        let disks = [disk("sda", nil, uuid: "12AB-cdef")]
        #expect(DiskMatch(.uuid("12ab-CDEF"), in: disks) == .one(disks[0]))
        #expect(DiskMatch(.uuid("12ab-cde"), in: disks) == .none)
    }

    @Test func partitionsAreFoundByTheirEntries() {
        let disks = [disk("sda1", nil, partition: PartitionEntry(name: "root", uuid: "AA")), disk("sda2", "root")]
        #expect(DiskMatch(.partLabel("root"), in: disks) == .one(disks[0]))
        #expect(DiskMatch(.partUUID("aa"), in: disks) == .one(disks[0]))
    }

    @Test func equalLabelsAreAmbiguous() {
        let disks = [disk("sda", "x"), disk("sdb", "x")]
        #expect(DiskMatch(.label("x"), in: disks) == .several(disks))
    }

    @Test func aPathIsComparedByNumber() {
        var disks = [disk("sda", nil), disk("sdb", nil)]
        disks[1].major = 8
        disks[1].minor = 16
        #expect(DiskMatch(.path("/dev/other"), in: disks, pathNumber: (8, 16)) == .one(disks[1]))
        #expect(DiskMatch(.path("/dev/sdb"), in: disks) == .none)
    }

    @Test func theAbsenceNamesWhatWasSeen() {
        var empty = BlockDevice(name: "sdb", path: "/dev/sdb")
        empty.size = 3000
        empty.vendor = "VMware"
        empty.model = "Virtual disk"
        empty.content = .unknown(partition: nil)
        let text = DiskMatch.absence(of: .label("x"), in: [disk("sda", "y", uuid: "U"), empty], afterMilliseconds: 30_000)
        #expect(
            text == "no such disk within 30 s; seen: /dev/sda (16 MiB): ext4, label y, UUID U; "
                + "/dev/sdb (2 KiB, VMware Virtual disk): no known filesystem")
        #expect(
            DiskMatch.absence(of: .label("x"), in: [], afterMilliseconds: 1500) == "no such disk within 1500 ms, and no other disk either")
    }

    @Test func whatAProbeSaysComesBackFromTheWorker() {
        let entry = PartitionEntry(name: "root", uuid: nil)
        let filesystem = Filesystem(type: "ext4", label: nil, uuid: "U", usage: "filesystem")
        let contents: [DiskContent] = [
            .notProbed, .filesystem(filesystem, partition: entry), .filesystem(filesystem, partition: nil), .partitionTable("gpt"),
            .unknown(partition: entry), .ambivalent(partition: nil), .unreadable("read: Input/output error"),
        ]
        for content in contents {
            #expect(DiskContent(encoded: content.encoded) == content)
            #expect(DiskContent(encoded: content.encoded.dropLast()) == nil)
        }
        #expect(DiskContent(encoded: []) == nil)
    }
}
