PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE experiment(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  description TEXT NOT NULL,
  seed INTEGER NOT NULL,          -- 64 bits; values above 2^63 show as negative
  config TEXT NOT NULL,           -- canonical JSON
  space TEXT NOT NULL,            -- JSON: parameters with the columns of point_<id>
  metrics TEXT NOT NULL,          -- JSON: names of m0, m1, ... of report and result
  objective TEXT NOT NULL,        -- a metric
  goal TEXT NOT NULL,             -- maximize, minimize
  reduce TEXT NOT NULL,           -- last, best
  numeric_class TEXT NOT NULL,    -- empty: not decided yet
  state TEXT NOT NULL,            -- running, completed, interrupted, failed
  why TEXT,
  suffix TEXT NOT NULL UNIQUE,    -- of its views: trials_<suffix>
  created_us INTEGER NOT NULL,    -- microseconds since 1970, as every column _us
  version TEXT NOT NULL           -- of the program that made it
) STRICT;
INSERT INTO experiment VALUES(1,'old','',1,'{"early_stopping":{"algorithm":"asha","settings":{"min_epochs":1,"verdict_lag":3}},"experiment":{"name":"old","seed":1},"fault_tolerance":{"checkpoint_every_epochs":1},"objective":{"goal":"minimize","metric":"value"},"output":{"checkpoints":{"keep_best":1},"database":"v1.db"},"search":{"algorithm":"genetic","settings":{"generations":4,"population_size":7}},"search_space":{"kind":{"type":"categorical","values":["flat","steep","bent"]},"depth":{"max":3,"min":1,"type":"int","when":{"kind":["steep","bent"]}},"x":{"distribution":"log_uniform","max":1.0,"min":0.001,"type":"float"}},"trainer":{"epoch_ms":30,"epochs":5,"fail":[{"epoch":3,"how":"nan","trials":[4]},{"epoch":2,"how":"segfault","trials":[6]},{"epoch":2,"how":"throw","trials":[9]},{"attempts":1,"epoch":1,"how":"segfault","trials":[2]}],"name":"synthetic","noise":0.5},"version":1,"resources":{"memory_per_trial":"21694MiB"}}','[{"name":"kind","column":"kind","type":"label"},{"name":"depth","column":"depth","type":"whole"},{"name":"x","column":"x","type":"real"}]','[{"name":"loss","column":"loss","exact":true},{"name":"val_accuracy","column":"val_accuracy","exact":true},{"name":"value","column":"value","exact":true},{"name":"seconds","column":"seconds","exact":false}]','value','minimize','last','any','interrupted','asked to stop','old',1795250906838116,'0.1.0-71357050fcdb9551');
CREATE TABLE session(             -- one run or resume
  experiment INTEGER NOT NULL REFERENCES experiment,
  number INTEGER NOT NULL,
  host TEXT NOT NULL, pid INTEGER NOT NULL,
  started_us INTEGER NOT NULL, ended_us INTEGER,
  executors INTEGER NOT NULL,
  expected INTEGER,               -- trials of the whole search, when known
  launcher TEXT NOT NULL,         -- local, mpi
  config_file TEXT NOT NULL,      -- absolute, on that host
  version TEXT NOT NULL,
  PRIMARY KEY(experiment, number)) STRICT, WITHOUT ROWID;
INSERT INTO session VALUES(1,1,'machine',9065,1795250906838116,1795250907583930,3,28,'local','/there/old.json','0.1.0-71357050fcdb9551');
CREATE TABLE trial(
  id INTEGER PRIMARY KEY,         -- experiment << 32 | number; columns named trial refer to it
  experiment INTEGER NOT NULL REFERENCES experiment,
  number INTEGER NOT NULL,        -- 0, 1, 2, ...; parent, same_as and lineage refer to it
  origin TEXT NOT NULL,           -- strategy, initial, user
  state TEXT NOT NULL,
  first_epoch INTEGER NOT NULL, last_epoch INTEGER NOT NULL,
  judged_epoch INTEGER NOT NULL,  -- reports of later epochs are speculative
  parent INTEGER,                 -- started from this trial's checkpoint
  same_as INTEGER,                -- duplicate of
  lineage TEXT,                   -- JSON list of the trials whose genes it carries
  seed INTEGER NOT NULL,
  objective REAL, best_epoch INTEGER,
  cause TEXT, why TEXT) STRICT;
INSERT INTO trial VALUES(4294967296,1,0,'strategy','completed',1,5,5,NULL,NULL,NULL,526680342342385275,0.17781824393171030695,5,NULL,NULL);
INSERT INTO trial VALUES(4294967297,1,1,'strategy','completed',1,5,5,NULL,NULL,NULL,4752681673450893264,10.046398681052648882,5,NULL,NULL);
INSERT INTO trial VALUES(4294967298,1,2,'strategy','completed',1,5,5,NULL,NULL,NULL,-3424603007610439462,4.7019006654311699122,5,NULL,NULL);
INSERT INTO trial VALUES(4294967299,1,3,'strategy','stopped',1,5,1,NULL,NULL,NULL,-8475866235455044736,16.911403466588943445,1,'stopper','stopped after epoch 1 of 5');
INSERT INTO trial VALUES(4294967300,1,4,'strategy','stopped',1,5,1,NULL,NULL,NULL,-2524991771803913899,1.4426079840831420586,1,'stopper','stopped after epoch 1 of 5');
INSERT INTO trial VALUES(4294967301,1,5,'strategy','stopped',1,5,1,NULL,NULL,NULL,-986844849744385610,7.0925609700138849689,1,'stopper','stopped after epoch 1 of 5');
INSERT INTO trial VALUES(4294967302,1,6,'strategy','stopped',1,5,1,NULL,NULL,NULL,-8666523449231200681,1.6616398348466101531,1,'stopper','stopped after epoch 1 of 5');
INSERT INTO trial VALUES(4294967303,1,7,'strategy','duplicate',1,1,0,NULL,0,'[0]',-399226580524758757,0.17781824393171030695,5,NULL,'equal to trial 0');
INSERT INTO trial VALUES(4294967304,1,8,'strategy','stopped',1,5,1,NULL,NULL,'[5,0]',-6929556377283933347,7.0668661999526349859,1,'stopper','stopped after epoch 1 of 5');
INSERT INTO trial VALUES(4294967305,1,9,'strategy','stopped',1,5,1,NULL,NULL,'[0,4]',-6882969345570918130,2.3009197283686377843,1,'stopper','stopped after epoch 1 of 5');
INSERT INTO trial VALUES(4294967306,1,10,'strategy','completed',1,5,5,NULL,NULL,'[4,0]',-1906361258072813354,0.22903974712317209938,5,NULL,NULL);
INSERT INTO trial VALUES(4294967307,1,11,'strategy','completed',1,5,5,NULL,NULL,'[6,4]',6358242582949732463,0.61462780534420846656,5,NULL,NULL);
INSERT INTO trial VALUES(4294967308,1,12,'strategy','stopped',1,5,4,NULL,NULL,'[4,2]',-8395443995356435707,0.57101513563380523752,4,'stopper','stopped after epoch 4 of 5');
INSERT INTO trial VALUES(4294967309,1,13,'strategy','stopped',1,5,1,NULL,NULL,'[2]',-1019453316740550491,7.2434743708678279716,1,'stopper','stopped after epoch 1 of 5');
INSERT INTO trial VALUES(4294967310,1,14,'strategy','duplicate',1,1,0,NULL,0,'[0]',-662874341072375774,0.17781824393171030695,5,NULL,'equal to trial 0');
INSERT INTO trial VALUES(4294967311,1,15,'strategy','waiting',1,5,0,NULL,NULL,'[9,10]',-6978458715198621463,NULL,NULL,NULL,NULL);
CREATE TABLE attempt(
  trial INTEGER NOT NULL, attempt INTEGER NOT NULL,
  session INTEGER NOT NULL,
  executor TEXT NOT NULL, host TEXT NOT NULL, device TEXT NOT NULL, numeric_class TEXT NOT NULL,
  started_us INTEGER NOT NULL, ended_us INTEGER,
  from_epoch INTEGER NOT NULL,
  end TEXT,                       -- completed, stopped, or why not; NULL: still running
  charged INTEGER NOT NULL DEFAULT 0,
  why TEXT, max_rss INTEGER,      -- bytes
  log TEXT,                       -- path from the database's folder, as every path
  PRIMARY KEY(trial, attempt)) STRICT, WITHOUT ROWID;
INSERT INTO attempt VALUES(4294967296,1,1,'machine/0.2.0','machine','cpu','synthetic-1',1795250907036053,1795250907191771,1,'completed',0,NULL,NULL,'v1.db.files/old/trial_000000/attempt_1.log');
INSERT INTO attempt VALUES(4294967297,1,1,'machine/0.3.0','machine','cpu','synthetic-1',1795250907037864,1795250907191791,1,'completed',0,NULL,NULL,'v1.db.files/old/trial_000001/attempt_1.log');
INSERT INTO attempt VALUES(4294967298,1,1,'machine/0.1.0','machine','cpu','synthetic-1',1795250907042178,1795250907103817,1,'signal',1,'the worker was killed by signal 11 (Segmentation fault)',24494080,'v1.db.files/old/trial_000002/attempt_1.log');
INSERT INTO attempt VALUES(4294967298,2,1,'machine/0.4.0','machine','cpu','synthetic-1',1795250907110484,1795250907267939,1,'completed',0,NULL,NULL,'v1.db.files/old/trial_000002/attempt_2.log');
INSERT INTO attempt VALUES(4294967299,1,1,'machine/0.2.0','machine','cpu','synthetic-1',1795250907191939,1795250907226298,1,'stopper',0,NULL,NULL,'v1.db.files/old/trial_000003/attempt_1.log');
INSERT INTO attempt VALUES(4294967300,1,1,'machine/0.3.0','machine','cpu','synthetic-1',1795250907191985,1795250907222620,1,'stopper',0,NULL,NULL,'v1.db.files/old/trial_000004/attempt_1.log');
INSERT INTO attempt VALUES(4294967301,1,1,'machine/0.3.0','machine','cpu','synthetic-1',1795250907268044,1795250907304453,1,'stopper',0,NULL,NULL,'v1.db.files/old/trial_000005/attempt_1.log');
INSERT INTO attempt VALUES(4294967302,1,1,'machine/0.2.0','machine','cpu','synthetic-1',1795250907268088,1795250907304382,1,'stopper',0,NULL,NULL,'v1.db.files/old/trial_000006/attempt_1.log');
INSERT INTO attempt VALUES(4294967304,1,1,'machine/0.4.0','machine','cpu','synthetic-1',1795250907304586,1795250907382256,1,'stopper',0,NULL,NULL,'v1.db.files/old/trial_000008/attempt_1.log');
INSERT INTO attempt VALUES(4294967305,1,1,'machine/0.3.0','machine','cpu','synthetic-1',1795250907382432,1795250907419831,1,'stopper',0,NULL,NULL,'v1.db.files/old/trial_000009/attempt_1.log');
INSERT INTO attempt VALUES(4294967306,1,1,'machine/0.4.0','machine','cpu','synthetic-1',1795250907396099,1795250907548275,1,'completed',0,NULL,NULL,'v1.db.files/old/trial_000010/attempt_1.log');
INSERT INTO attempt VALUES(4294967307,1,1,'machine/0.5.0','machine','cpu','synthetic-1',1795250907398876,1795250907569277,1,'completed',0,NULL,NULL,'v1.db.files/old/trial_000011/attempt_1.log');
INSERT INTO attempt VALUES(4294967308,1,1,'machine/0.3.0','machine','cpu','synthetic-1',1795250907443373,1795250907568954,1,'stopper',0,NULL,NULL,'v1.db.files/old/trial_000012/attempt_1.log');
INSERT INTO attempt VALUES(4294967309,1,1,'machine/0.4.0','machine','cpu','synthetic-1',1795250907548410,1795250907579051,1,'stopper',0,NULL,NULL,'v1.db.files/old/trial_000013/attempt_1.log');
INSERT INTO attempt VALUES(4294967311,1,1,'machine/0.5.0','machine','cpu','synthetic-1',1795250907579190,1795250907583746,1,'interrupted',0,'asked to stop',NULL,'v1.db.files/old/trial_000015/attempt_1.log');
CREATE TABLE report(
  trial INTEGER NOT NULL, epoch INTEGER NOT NULL,
  wall_us INTEGER NOT NULL,
  nan TEXT,                       -- the metrics that were not a number, as in "0,3"
  m0 REAL, m1 REAL, m2 REAL, m3 REAL, m4 REAL, m5 REAL, m6 REAL, m7 REAL,
  PRIMARY KEY(trial, epoch)) STRICT, WITHOUT ROWID;
INSERT INTO report VALUES(4294967296,1,1795250907103758,NULL,1.1038236136919792329,0.47532501940365140535,1.1038236136919792329,0.030101807000000001257,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967296,2,1795250907104020,NULL,0.74046238736613934072,0.57455996019156196918,0.74046238736613934072,0.032978050000000001806,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967296,3,1795250907135782,NULL,0.78643862541000952859,0.55977293917415593682,0.78643862541000952859,0.030114886000000000432,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967296,4,1795250907161001,NULL,0.42154507120884437965,0.7034599326137626063,0.42154507120884437965,0.030108586999999999156,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967296,5,1795250907191750,NULL,0.17781824393171030695,0.84902743284215920205,0.17781824393171030695,0.030092012000000001314,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967297,1,1795250907103799,NULL,15.287405952808599707,0.061397131188196368833,15.287405952808599707,0.030089889000000001606,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967297,2,1795250907104034,NULL,12.84122579697795885,0.072247936322109296281,12.84122579697795885,0.031532275999999997972,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967297,3,1795250907135815,NULL,11.423488086409555819,0.080492691991545545215,11.423488086409555819,0.030248745000000000493,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967297,4,1795250907161030,NULL,10.753888567471697968,0.085078227027560071604,10.753888567471697968,0.030251178999999999569,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967297,5,1795250907191782,NULL,10.046398681052648882,0.090527241399973312763,10.046398681052648882,0.030166993999999999059,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967298,1,1795250907142306,NULL,7.0824311216187023632,0.12372514964281264293,7.0824311216187023632,0.030102266999999998525,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967298,2,1795250907172672,NULL,5.9630472842487272089,0.14361528209956631041,5.9630472842487272089,0.030147674999999998779,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967298,3,1795250907202978,NULL,5.0078994518089121612,0.1664475259649878247,5.0078994518089121612,0.030084932000000001728,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967298,4,1795250907233268,NULL,4.7457381081090170837,0.17404204319523197685,4.7457381081090170837,0.030099142999999998343,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967298,5,1795250907267920,NULL,4.7019006654311699122,0.17538011597828867538,4.7019006654311699122,0.030099642999999998843,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967299,1,1795250907226282,NULL,16.911403466588943445,0.055830354213468033619,16.911403466588943445,0.030093273999999999718,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967300,1,1795250907222604,NULL,1.4426079840831420586,0.40939848167054948557,1.4426079840831420586,0.030093543999999999849,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967301,1,1795250907304446,NULL,7.0925609700138849689,0.12357027691300596916,7.0925609700138849689,0.034377614000000000782,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967302,1,1795250907304366,NULL,1.6616398348466101531,0.37570823328830660337,1.6616398348466101531,0.033959371000000002083,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967304,1,1795250907382210,NULL,7.0668661999526349859,0.12396387583642723417,7.0668661999526349859,0.030268525000000000985,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967305,1,1795250907419793,NULL,2.3009197283686377843,0.30294587032996844744,2.3009197283686377843,0.030093925000000000535,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967306,1,1795250907438007,NULL,0.97271907110083666303,0.50691454989684359144,0.97271907110083666303,0.030091992000000001433,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967306,2,1795250907459740,NULL,0.90530034627270894453,0.52485163399895184976,0.90530034627270894453,0.030086914999999998798,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967306,3,1795250907488612,NULL,0.56838462332367700735,0.63759870195668444381,0.56838462332367700735,0.030085932999999998732,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967306,4,1795250907517611,NULL,0.36644316553990918805,0.73182699816488883115,0.36644316553990918805,0.030198961999999999333,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967306,5,1795250907548257,NULL,0.22903974712317209938,0.81364333606029581869,0.22903974712317209938,0.030122697999999999834,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967307,1,1795250907443301,NULL,1.2755705207136478485,0.43945023496190627199,1.2755705207136478485,0.030101606999999998975,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967307,2,1795250907474142,NULL,0.7887342353934447825,0.55905454271133958599,0.7887342353934447825,0.031590883999999999631,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967307,3,1795250907515768,NULL,0.69914236833361176337,0.58853220226667835035,0.69914236833361176337,0.031919232999999998245,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967307,4,1795250907538265,NULL,0.36797662156516186549,0.73100664458421538149,0.36797662156516186549,0.031567528999999996952,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967307,5,1795250907569262,NULL,0.61462780534420846656,0.61933777969766767856,0.61462780534420846656,0.030987796000000001478,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967308,1,1795250907474116,NULL,1.3460120185131856374,0.42625527580790589787,1.3460120185131856374,0.030099252999999999425,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967308,2,1795250907515802,NULL,0.75597476303798105679,0.56948426654487771525,0.75597476303798105679,0.032360250000000000125,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967308,3,1795250907538528,NULL,0.39624271892483475809,0.71620785300856704136,0.39624271892483475809,0.031941927000000001901,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967308,4,1795250907568937,NULL,0.57101513563380523752,0.63653110483659558482,0.57101513563380523752,0.030098450999999998289,NULL,NULL,NULL,NULL);
INSERT INTO report VALUES(4294967309,1,1795250907579037,NULL,7.2434743708678279716,0.12130807412150969304,7.2434743708678279716,0.030099744000000001192,NULL,NULL,NULL,NULL);
CREATE TABLE result(              -- the last official report of each ended trial
  trial INTEGER PRIMARY KEY, epoch INTEGER NOT NULL,
  nan TEXT,
  m0 REAL, m1 REAL, m2 REAL, m3 REAL, m4 REAL, m5 REAL, m6 REAL, m7 REAL) STRICT;
INSERT INTO result VALUES(4294967296,5,NULL,0.17781824393171030695,0.84902743284215920205,0.17781824393171030695,0.030092012000000001314,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967297,5,NULL,10.046398681052648882,0.090527241399973312763,10.046398681052648882,0.030166993999999999059,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967298,5,NULL,4.7019006654311699122,0.17538011597828867538,4.7019006654311699122,0.030099642999999998843,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967299,1,NULL,16.911403466588943445,0.055830354213468033619,16.911403466588943445,0.030093273999999999718,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967300,1,NULL,1.4426079840831420586,0.40939848167054948557,1.4426079840831420586,0.030093543999999999849,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967301,1,NULL,7.0925609700138849689,0.12357027691300596916,7.0925609700138849689,0.034377614000000000782,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967302,1,NULL,1.6616398348466101531,0.37570823328830660337,1.6616398348466101531,0.033959371000000002083,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967304,1,NULL,7.0668661999526349859,0.12396387583642723417,7.0668661999526349859,0.030268525000000000985,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967305,1,NULL,2.3009197283686377843,0.30294587032996844744,2.3009197283686377843,0.030093925000000000535,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967306,5,NULL,0.22903974712317209938,0.81364333606029581869,0.22903974712317209938,0.030122697999999999834,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967307,5,NULL,0.61462780534420846656,0.61933777969766767856,0.61462780534420846656,0.030987796000000001478,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967308,4,NULL,0.57101513563380523752,0.63653110483659558482,0.57101513563380523752,0.030098450999999998289,NULL,NULL,NULL,NULL);
INSERT INTO result VALUES(4294967309,1,NULL,7.2434743708678279716,0.12130807412150969304,7.2434743708678279716,0.030099744000000001192,NULL,NULL,NULL,NULL);
CREATE TABLE rung(                -- verdicts of the stopper
  experiment INTEGER NOT NULL, epoch INTEGER NOT NULL, trial INTEGER NOT NULL,
  score REAL,                     -- greater is better, also of a minimised metric; NULL: NaN
  verdict TEXT NOT NULL,          -- proceed, stop
  horizon INTEGER NOT NULL,       -- trials with smaller numbers were seen
  PRIMARY KEY(experiment, epoch, trial)) STRICT, WITHOUT ROWID;
INSERT INTO rung VALUES(1,1,4294967296,-1.1038236136919792329,'proceed',0);
INSERT INTO rung VALUES(1,1,4294967297,-15.287405952808599707,'proceed',0);
INSERT INTO rung VALUES(1,1,4294967298,-7.0824311216187023632,'proceed',0);
INSERT INTO rung VALUES(1,1,4294967299,-16.911403466588943445,'stop',1);
INSERT INTO rung VALUES(1,1,4294967300,-1.4426079840831420586,'stop',2);
INSERT INTO rung VALUES(1,1,4294967301,-7.0925609700138849689,'stop',3);
INSERT INTO rung VALUES(1,1,4294967302,-1.6616398348466101531,'stop',4);
INSERT INTO rung VALUES(1,1,4294967304,-7.0668661999526349859,'stop',6);
INSERT INTO rung VALUES(1,1,4294967305,-2.3009197283686377843,'stop',7);
INSERT INTO rung VALUES(1,1,4294967306,-0.97271907110083666303,'proceed',8);
INSERT INTO rung VALUES(1,1,4294967307,-1.2755705207136478485,'proceed',9);
INSERT INTO rung VALUES(1,1,4294967308,-1.3460120185131856374,'proceed',10);
INSERT INTO rung VALUES(1,1,4294967309,-7.2434743708678279716,'stop',11);
INSERT INTO rung VALUES(1,4,4294967296,-0.42154507120884437965,'proceed',0);
INSERT INTO rung VALUES(1,4,4294967297,-10.753888567471697968,'proceed',0);
INSERT INTO rung VALUES(1,4,4294967298,-4.7457381081090170837,'proceed',0);
INSERT INTO rung VALUES(1,4,4294967306,-0.36644316553990918805,'proceed',8);
INSERT INTO rung VALUES(1,4,4294967307,-0.36797662156516186549,'proceed',9);
INSERT INTO rung VALUES(1,4,4294967308,-0.57101513563380523752,'stop',10);
CREATE TABLE event(
  seq INTEGER PRIMARY KEY,
  experiment INTEGER NOT NULL, session INTEGER NOT NULL,
  at_trial INTEGER,               -- number of the trial where it took effect; NULL: a note
  at_us INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL) STRICT;
INSERT INTO event VALUES(1,1,1,2,1795250907103817,'charged_crash','{"attempt":1,"cause":"signal"}');
CREATE TABLE checkpoint(
  trial INTEGER NOT NULL, epoch INTEGER NOT NULL, path TEXT NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY(trial, epoch)) STRICT, WITHOUT ROWID;
INSERT INTO checkpoint VALUES(4294967296,5,'v1.db.files/old/trial_000000/epoch_5.ckpt',41);
CREATE TABLE point_1(trial INTEGER PRIMARY KEY, "kind" TEXT, "depth" INTEGER, "x" REAL) STRICT;
INSERT INTO point_1 VALUES(4294967296,'flat',NULL,0.029000370713931598876);
INSERT INTO point_1 VALUES(4294967297,'bent',3,0.001231438418525794597);
INSERT INTO point_1 VALUES(4294967298,'bent',2,0.022261202074088035085);
INSERT INTO point_1 VALUES(4294967299,'bent',3,0.96242570523070092303);
INSERT INTO point_1 VALUES(4294967300,'flat',NULL,0.0079352755420665568864);
INSERT INTO point_1 VALUES(4294967301,'bent',2,0.013732318115579960834);
INSERT INTO point_1 VALUES(4294967302,'flat',NULL,0.5569012181260319938);
INSERT INTO point_1 VALUES(4294967303,'flat',NULL,0.029000370713931598876);
INSERT INTO point_1 VALUES(4294967304,'steep',2,0.02945742999180958957);
INSERT INTO point_1 VALUES(4294967305,'steep',1,0.0079352755420665568864);
INSERT INTO point_1 VALUES(4294967306,'flat',NULL,0.014806199940968944178);
INSERT INTO point_1 VALUES(4294967307,'flat',NULL,0.0019547969509447161648);
INSERT INTO point_1 VALUES(4294967308,'flat',NULL,0.022261202074088035085);
INSERT INTO point_1 VALUES(4294967309,'bent',2,0.026591575604546439925);
INSERT INTO point_1 VALUES(4294967310,'flat',NULL,0.029000370713931598876);
INSERT INTO point_1 VALUES(4294967311,'steep',3,0.014806199940968944178);
CREATE UNIQUE INDEX trial_number ON trial(experiment, number);
CREATE INDEX trial_rank ON trial(experiment, objective)
  WHERE state IN ('completed', 'stopped') AND objective IS NOT NULL;
CREATE INDEX trial_open ON trial(experiment, number) WHERE state IN ('waiting', 'running');
CREATE VIEW "trials_old" AS SELECT t.number AS trial, t.state AS state, t.objective AS objective, CASE WHEN t.same_as IS NULL THEN t.judged_epoch ELSE (SELECT o.judged_epoch FROM trial o WHERE o.id = (t.experiment << 32 | t.same_as)) END AS epochs, p."kind" AS "kind", p."depth" AS "depth", p."x" AS "x", r.m0 AS "loss", r.m1 AS "val_accuracy", r.m2 AS "value", r.m3 AS "seconds", t.origin AS origin, t.first_epoch AS first_epoch, t.last_epoch AS last_epoch, t.best_epoch AS best_epoch, t.parent AS parent, t.same_as AS same_as, t.cause AS cause, t.why AS why, (SELECT count(*) FROM attempt a WHERE a.trial = t.id) AS attempts, (SELECT sum(a.ended_us - a.started_us) / 1e6 FROM attempt a WHERE a.trial = t.id) AS wall_seconds FROM trial t JOIN point_1 p ON p.trial = t.id LEFT JOIN result r ON r.trial = (4294967296 | ifnull(t.same_as, t.number)) WHERE t.experiment = 1;
CREATE VIEW "trials" AS SELECT t.number AS trial, t.state AS state, t.objective AS objective, CASE WHEN t.same_as IS NULL THEN t.judged_epoch ELSE (SELECT o.judged_epoch FROM trial o WHERE o.id = (t.experiment << 32 | t.same_as)) END AS epochs, p."kind" AS "kind", p."depth" AS "depth", p."x" AS "x", r.m0 AS "loss", r.m1 AS "val_accuracy", r.m2 AS "value", r.m3 AS "seconds", t.origin AS origin, t.first_epoch AS first_epoch, t.last_epoch AS last_epoch, t.best_epoch AS best_epoch, t.parent AS parent, t.same_as AS same_as, t.cause AS cause, t.why AS why, (SELECT count(*) FROM attempt a WHERE a.trial = t.id) AS attempts, (SELECT sum(a.ended_us - a.started_us) / 1e6 FROM attempt a WHERE a.trial = t.id) AS wall_seconds FROM trial t JOIN point_1 p ON p.trial = t.id LEFT JOIN result r ON r.trial = (4294967296 | ifnull(t.same_as, t.number)) WHERE t.experiment = 1;
CREATE VIEW "best_old" AS SELECT * FROM (SELECT t.number AS trial, t.state AS state, t.objective AS objective, CASE WHEN t.same_as IS NULL THEN t.judged_epoch ELSE (SELECT o.judged_epoch FROM trial o WHERE o.id = (t.experiment << 32 | t.same_as)) END AS epochs, p."kind" AS "kind", p."depth" AS "depth", p."x" AS "x", r.m0 AS "loss", r.m1 AS "val_accuracy", r.m2 AS "value", r.m3 AS "seconds", t.origin AS origin, t.first_epoch AS first_epoch, t.last_epoch AS last_epoch, t.best_epoch AS best_epoch, t.parent AS parent, t.same_as AS same_as, t.cause AS cause, t.why AS why, (SELECT count(*) FROM attempt a WHERE a.trial = t.id) AS attempts, (SELECT sum(a.ended_us - a.started_us) / 1e6 FROM attempt a WHERE a.trial = t.id) AS wall_seconds FROM trial t JOIN point_1 p ON p.trial = t.id LEFT JOIN result r ON r.trial = (4294967296 | ifnull(t.same_as, t.number)) WHERE t.experiment = 1) WHERE state IN ('completed', 'stopped') AND objective IS NOT NULL ORDER BY objective ASC, trial;
CREATE VIEW "best" AS SELECT * FROM (SELECT t.number AS trial, t.state AS state, t.objective AS objective, CASE WHEN t.same_as IS NULL THEN t.judged_epoch ELSE (SELECT o.judged_epoch FROM trial o WHERE o.id = (t.experiment << 32 | t.same_as)) END AS epochs, p."kind" AS "kind", p."depth" AS "depth", p."x" AS "x", r.m0 AS "loss", r.m1 AS "val_accuracy", r.m2 AS "value", r.m3 AS "seconds", t.origin AS origin, t.first_epoch AS first_epoch, t.last_epoch AS last_epoch, t.best_epoch AS best_epoch, t.parent AS parent, t.same_as AS same_as, t.cause AS cause, t.why AS why, (SELECT count(*) FROM attempt a WHERE a.trial = t.id) AS attempts, (SELECT sum(a.ended_us - a.started_us) / 1e6 FROM attempt a WHERE a.trial = t.id) AS wall_seconds FROM trial t JOIN point_1 p ON p.trial = t.id LEFT JOIN result r ON r.trial = (4294967296 | ifnull(t.same_as, t.number)) WHERE t.experiment = 1) WHERE state IN ('completed', 'stopped') AND objective IS NOT NULL ORDER BY objective ASC, trial;
CREATE VIEW "curve_old" AS SELECT t.number AS trial, r.epoch AS epoch, r.m0 AS "loss", r.m1 AS "val_accuracy", r.m2 AS "value", r.m3 AS "seconds", r.wall_us AS wall_us FROM report r CROSS JOIN trial t ON t.id = r.trial WHERE r.trial BETWEEN 4294967296 AND 8589934591 AND (r.epoch <= t.judged_epoch OR t.state IN ('waiting', 'running'));
CREATE VIEW "curve" AS SELECT t.number AS trial, r.epoch AS epoch, r.m0 AS "loss", r.m1 AS "val_accuracy", r.m2 AS "value", r.m3 AS "seconds", r.wall_us AS wall_us FROM report r CROSS JOIN trial t ON t.id = r.trial WHERE r.trial BETWEEN 4294967296 AND 8589934591 AND (r.epoch <= t.judged_epoch OR t.state IN ('waiting', 'running'));
CREATE VIEW "lineage_old" AS SELECT t.number AS trial, j.value AS ancestor, 'genes' AS kind FROM trial t, json_each(t.lineage) j WHERE t.experiment = 1 UNION ALL SELECT number, parent, 'checkpoint' FROM trial WHERE experiment = 1 AND parent IS NOT NULL UNION ALL SELECT number, same_as, 'same' FROM trial WHERE experiment = 1 AND same_as IS NOT NULL;
CREATE VIEW "lineage" AS SELECT t.number AS trial, j.value AS ancestor, 'genes' AS kind FROM trial t, json_each(t.lineage) j WHERE t.experiment = 1 UNION ALL SELECT number, parent, 'checkpoint' FROM trial WHERE experiment = 1 AND parent IS NOT NULL UNION ALL SELECT number, same_as, 'same' FROM trial WHERE experiment = 1 AND same_as IS NOT NULL;
CREATE VIEW "experiments" AS SELECT e.name AS name, e.state AS state, e.why AS why,
  (SELECT count(*) FROM trial t WHERE t.experiment = e.id) AS trials,
  e.objective AS objective, e.goal AS goal,
  (SELECT CASE e.goal WHEN 'maximize' THEN max(t.objective) ELSE min(t.objective) END FROM trial t
    WHERE t.experiment = e.id AND t.state IN ('completed', 'stopped') AND t.objective IS NOT NULL)
    AS best,
  e.seed AS seed, e.numeric_class AS numeric_class, e.suffix AS suffix, e.created_us AS created_us,
  e.description AS description FROM experiment e;
CREATE VIEW "all_trials" AS SELECT e.name AS experiment, t.number AS trial, t.state AS state, t.objective AS objective, CASE WHEN t.same_as IS NULL THEN t.judged_epoch ELSE (SELECT o.judged_epoch FROM trial o WHERE o.id = (t.experiment << 32 | t.same_as)) END AS epochs, t.origin AS origin, t.first_epoch AS first_epoch, t.last_epoch AS last_epoch,
  t.best_epoch AS best_epoch, t.parent AS parent, t.same_as AS same_as, t.cause AS cause,
  t.why AS why
  FROM trial t JOIN experiment e ON e.id = t.experiment;
COMMIT;
