// Where the program is; recorded with each launch.
struct Cursor {
    row: u32,
    time: u32,
}
var<immediate> cursor: Cursor;
