//! How the router is built as the routing of a node.

use std::sync::Arc;

use async_trait::async_trait;
use ipfs_traits::{HttpClient, Parts, Recipe, Result, Routing};

use super::{HttpRouter, Options};

pub(super) struct HttpRecipe {
    pub(super) client: Arc<dyn HttpClient>,
    pub(super) endpoint: String,
    pub(super) options: Options,
}

#[async_trait]
impl Recipe<dyn Routing> for HttpRecipe {
    async fn build(self: Box<Self>, parts: &Parts) -> Result<Arc<dyn Routing>> {
        let runtime = parts.runtime().clone();
        Ok(Arc::new(HttpRouter::new(runtime, self.client, &self.endpoint, self.options)?))
    }
}
