//! An object store whose operations go wrong.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::Canary;
use super::world::{Fate, Life, World};

/// A process's way to the objects of the world.
#[derive(Debug, Clone)]
pub struct Store {
    pub world: World,
    pub life: Life,
}

impl Display for Store {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("a simulated store")
    }
}

fn wrong(what: &str) -> Error {
    Error::Generic { store: "simulated", source: format!("{what}: it went wrong, as the seed says").into() }
}

impl Store {
    /// Something that cannot happen in part.
    async fn heard<T>(&self, what: &str, does: impl Future<Output = Result<T>>) -> Result<T> {
        let fate = self.life.whole(what).await;
        let outcome = if fate.happens { does.await } else { Err(wrong(what)) };
        outcome.and_then(|value| fate.answer(what, value).map_err(|_| wrong(what)))
    }

    /// Whether a write can be torn. Stores write an object whole or not at all, and so must ours on a local disk; but a job should not
    /// mind where they do not, as long as it can tell: of the first manifest it could not.
    async fn tears(&self, location: &Path) -> bool {
        let manifest = |o: &ObjectMeta| o.location.as_ref().ends_with("manifest.json");
        let all = self.world.objects.list(None).try_collect::<Vec<_>>().await;
        !location.as_ref().ends_with("manifest.json") || all.is_ok_and(|all| all.iter().any(manifest))
    }

    /// Whether a write is lost, though it was said to be done.
    fn loses(&self, location: &Path) -> bool {
        self.world.canary == Some(Canary::LosesChunk)
            && location.as_ref().ends_with(".parquet")
            && self.life.below(4) == 0
    }
}

#[async_trait]
impl ObjectStore for Store {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let what = format!("put {location}");
        let bytes = Bytes::from(payload);
        let (stored, heard) = match self.life.operation(&what).await {
            Fate::Done if self.loses(location) => return Ok(PutResult { e_tag: None, version: None }),
            Fate::Done => (bytes, true),
            Fate::Unheard => (bytes, false),
            Fate::Torn if !self.tears(location).await => return Err(wrong(&what)),
            Fate::Torn => (bytes.slice(0..self.life.below(bytes.len().max(1))), false),
            Fate::Undone => return Err(wrong(&what)),
        };
        let put = self.world.objects.put_opts(location, stored.into(), options).await;
        if heard { put } else { Err(wrong(&what)) }
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(wrong(&format!("no upload in parts was expected, of {location}")))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.heard(&format!("get {location}"), self.world.objects.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let own = self.clone();
        let delete = move |location: Result<Path>| {
            let own = own.clone();
            async move {
                let location = location?;
                let gone =
                    Arc::clone(&own.world.objects).delete_stream(futures::stream::iter([Ok(location.clone())]).boxed());
                own.heard(&format!("delete {location}"), async { gone.try_collect::<Vec<_>>().await }).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (own, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let all = own.world.objects.list(prefix.as_ref()).try_collect::<Vec<_>>();
            let mut all = own.heard("list", all).await?;
            if own.world.canary == Some(Canary::ListsLate) {
                let newest =
                    all.iter().map(|o| o.location.clone()).filter(|l| l.as_ref().ends_with("manifest.json")).max();
                all.retain(|o| Some(&o.location) != newest.as_ref());
            }
            Ok::<_, Error>(futures::stream::iter(all.into_iter().map(Ok)))
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.heard("list", self.world.objects.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.heard(&format!("copy {from} {to}"), self.world.objects.copy_opts(from, to, options)).await
    }
}
