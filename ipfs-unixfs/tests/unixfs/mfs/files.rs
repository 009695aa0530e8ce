//! Files of a tree that are open.

use futures::TryStreamExt;
use ipfs_traits::Error;
use ipfs_unixfs::{Params, data::Mtime, mfs::FileOptions};

use super::Desk;

#[test]
fn a_file_has_one_writer_or_many_readers() {
    let desk = Desk::new(Params::default());
    let mfs = desk.open();
    desk.run(async {
        let read = FileOptions::default();
        assert!(matches!(mfs.open_file("/f", read).await, Err(Error::NoEntry { .. })));
        mfs.write("/f", 0, "first", FileOptions::write()).await.unwrap();
        let mut one = mfs.open_file("/f", read).await.unwrap();
        let other = mfs.open_file("/f", read).await.unwrap();
        assert!(matches!(one.write_at(0, "x").await, Err(Error::Invalid { .. })));
        let mut writer = Box::pin(mfs.open_file("/f", FileOptions::write()));
        assert!(futures::poll!(&mut writer).is_pending());
        drop(one);
        assert!(futures::poll!(&mut writer).is_pending());
        drop(other);
        let mut writer = writer.await.unwrap();
        let mut waiting = Box::pin(mfs.open_file("/f", read));
        assert!(futures::poll!(&mut waiting).is_pending());
        writer.append(" and second").await.unwrap();
        // Without a flush it is lost.
        drop(writer);
        let reader = waiting.await.unwrap();
        assert_eq!(reader.size().await.unwrap(), 5);
        // Others are not kept from anything meanwhile.
        mfs.write("/g", 0, "other", FileOptions::write()).await.unwrap();
        drop(reader);
    });
}

#[test]
fn a_file_that_is_moved_or_removed_while_it_is_open_goes_on() {
    let desk = Desk::new(Params::default());
    let mfs = desk.open();
    desk.run(async {
        mfs.mkdir("/a", false).await.unwrap();
        let options = FileOptions { parents: true, ..FileOptions::write() };
        let mut file = mfs.open_file("/a/b/f", options).await.unwrap();
        file.append("one").await.unwrap();
        mfs.mv("/a/b", "/b").await.unwrap();
        mfs.mv("/b/f", "/b/g").await.unwrap();
        // What is stored is closed, but not what is in use.
        mfs.flush().await.unwrap();
        file.flush().await.unwrap();
        assert_eq!(mfs.read("/b/g").await.unwrap().size(), 3);
        let root = mfs.flush().await.unwrap();
        mfs.rm("/b", true).await.unwrap();
        file.append("two").await.unwrap();
        file.flush().await.unwrap();
        assert_eq!(file.size().await.unwrap(), 6);
        assert!(mfs.stat("/b").await.is_err());
        drop(file);
        assert_ne!(mfs.flush().await.unwrap(), root);
        let names: Vec<_> = mfs.list("/").await.unwrap().try_collect().await.unwrap();
        assert_eq!(names.iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>(), ["a"]);
    });
}

/// Kubo's tree tells the time of a change of a file that has one, and of no other.
#[test]
fn what_has_a_time_gets_that_of_its_change() {
    let desk = Desk::new(Params::default());
    let mfs = desk.open();
    desk.run(async {
        let mtime = Some(Mtime { seconds: 1, nanos: None });
        for path in ["/timed", "/plain"] {
            mfs.write(path, 0, "a", FileOptions::write()).await.unwrap();
        }
        mfs.touch("/timed", mtime).await.unwrap();
        for path in ["/timed", "/plain"] {
            mfs.write(path, 1, "b", FileOptions::write()).await.unwrap();
        }
        let timed = mfs.stat("/timed").await.unwrap().mtime;
        assert!(timed.is_some() && timed != mtime);
        assert_eq!(mfs.stat("/plain").await.unwrap().mtime, None);
    });
}
